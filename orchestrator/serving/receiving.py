"""Contents that a client sends, many in one request: each behind a line with its hash.

    SHA256 OFFSET LENGTH\\n<LENGTH bytes>SHA256 ...

Bytes go to the disk as they come. When the link is cut, what has come stays, and the client goes
on behind it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from orchestrator.bundle.manifest import Manifest
from orchestrator.bundle.uploads import Uploads
from orchestrator.bundle.wire import FRAME_HEAD
from orchestrator.errors import UserError

BLOCK = 1 << 20


class Receiver:
    """Takes the body of one request apart.

    Args:
        manifest: only contents of this bundle are taken.
    """

    def __init__(self, uploads: Uploads, manifest: Manifest) -> None:
        self._uploads, self._manifest = uploads, manifest
        self._pending = bytearray()
        self._holding: AbstractContextManager[BinaryIO] | None = None
        self._file: BinaryIO | None = None
        self._left = 0
        self.received = 0

    async def take(self, body: AsyncIterator[bytes]) -> None:
        """Receive all of it.

        Raises:
            UserError: it is no such body, a content is of no file of the bundle, or has another
                hash than it was sent under.
            Busy, NotThere: see `Uploads.receiving`.
        """
        try:
            async for data in body:
                self._pending += data
                if len(self._pending) >= BLOCK:
                    await run_in_threadpool(self._work)
            await run_in_threadpool(self._work)
        except ClientDisconnect:
            await run_in_threadpool(self._work)
            raise
        finally:
            if self._holding is not None:
                with contextlib.suppress(Exception):
                    self._end()
        if self._left or self._pending:
            raise UserError("the request ended within a content")

    def _work(self) -> None:
        while self._pending:
            if self._file is None and not self._begin():
                return
            if self._file is not None:
                data = bytes(self._pending[: self._left])
                self._file.write(data)
                del self._pending[: len(data)]
                self._left -= len(data)
                self.received += len(data)
            if not self._left and self._holding is not None:
                self._end()

    def _begin(self) -> bool:
        """Read the line before a content; whether it has come."""
        head, line_feed, _ = bytes(self._pending[:FRAME_HEAD]).partition(b"\n")
        if not line_feed:
            if len(self._pending) >= FRAME_HEAD:
                raise UserError("expected SHA256 OFFSET LENGTH before a content")
            return False
        words = head.decode("ascii", "replace").split(" ")
        if len(words) != 3 or not all(word.isascii() and word.isdecimal() for word in words[1:]):
            raise UserError("expected SHA256 OFFSET LENGTH before a content")
        sha256, offset, length = words[0], int(words[1]), int(words[2])
        size = self._manifest.blobs.get(sha256)
        if size is None:
            raise UserError(f"{sha256[:64]!r} is not among the bundle's files")
        if offset + length > size:
            raise UserError(f"{sha256}: more than its {size:,} bytes")
        del self._pending[: len(head) + 1]
        self._holding = self._uploads.receiving(sha256, size, offset)
        try:
            self._file = self._holding.__enter__()
        except BaseException:
            self._holding = None
            raise
        self._left = length
        if not length:
            self._end()
        return True

    def _end(self) -> None:
        holding, self._holding, self._file = self._holding, None, None
        assert holding is not None
        holding.__exit__(None, None, None)
