"""Sends what a server does not have of a bundle; after a cut it goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.bundle.gathering import Bundle, Content
from orchestrator.errors import UserError
from orchestrator.remote.link import BATCH_MIB, Conflict, Link, LinkCut, NotFound, Pauses

BATCH_BYTES = BATCH_MIB << 20
BATCH_FRAMES = 2_000
BLOCK = 256 * 1024


@dataclass(frozen=True)
class Frame:
    """A part of a content: `length` bytes from `offset` on."""

    sha256: str
    offset: int
    length: int

    @property
    def head(self) -> bytes:
        """The line before it."""
        return f"{self.sha256} {self.offset} {self.length}\n".encode()


def upload(
    link: Link,
    bundle: Bundle,
    say: Callable[[str, str], None],
    progress: Callable[[int, int], None],
) -> int:
    """Send a bundle.

    Args:
        progress: called with the bytes that the server has of those that were to be sent, and how
            many were to be sent.

    Returns:
        Bytes of contents that were sent.

    Raises:
        UserError: the server refuses it, or a file has changed meanwhile.
    """
    pauses = Pauses(link.server.url, say)
    total, sent = -1, 0
    while True:
        try:
            missing = _missing(link, bundle)
            left = sum(size - offset for _, size, offset in missing)
            total = left if total < 0 else total
            progress(max(0, total - left), total)
            if not missing:
                return sent
            for batch in batches(missing):
                length = sum(len(frame.head) + frame.length for frame in batch)
                path = f"/bundles/{bundle.manifest.name}/blobs"
                link.send(path, _body(batch, bundle.contents), length)
                sent += sum(frame.length for frame in batch)
                progress(min(sent, total), total)
                pauses.reset()
        except LinkCut as error:
            pauses.wait(error)
        except Conflict as error:  # somebody else sends it, or a cut request is still being ended
            pauses.wait(error)


def _missing(link: Link, bundle: Bundle) -> list[tuple[str, int, int]]:
    path = f"/bundles/{bundle.manifest.name}"
    try:
        found = link.get(path)
    except NotFound:
        found = link.put(path, bundle.manifest.to_bytes())
    return list(_checked(found, bundle.manifest.blobs))


def _checked(found: Mapping[str, Any], known: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    """What a server asks for: only contents of the bundle are ever sent."""
    for sha256, size, offset in found["missing"]:
        if known.get(sha256) != size or not 0 <= offset <= size:
            raise UserError("the server asks for what is not in the bundle", "ask whoever serves")
        yield sha256, size, offset


def batches(missing: list[tuple[str, int, int]]) -> Iterator[list[Frame]]:
    """What each request sends: no more bytes or contents than are worth sending again."""
    batch: list[Frame] = []
    room = BATCH_BYTES
    for sha256, size, offset in missing:
        while True:
            length = min(size - offset, room)
            batch.append(Frame(sha256, offset, length))
            offset, room = offset + length, room - length
            if room <= 0 or len(batch) >= BATCH_FRAMES:
                yield batch
                batch, room = [], BATCH_BYTES
            if offset >= size:
                break
    if batch:
        yield batch


def _body(batch: list[Frame], contents: Mapping[str, Content]) -> Iterator[bytes]:
    for frame in batch:
        content = contents[frame.sha256]
        yield frame.head
        if isinstance(content, bytes):
            yield content[frame.offset : frame.offset + frame.length]
        else:
            yield from _part(content, frame)


def _part(path: Path, frame: Frame) -> Iterator[bytes]:
    left = frame.length
    try:
        with open(path, "rb") as file:
            file.seek(frame.offset, os.SEEK_SET)
            while left:
                data = file.read(min(BLOCK, left))
                if not data:
                    raise UserError(f"{path} became shorter while it was sent", "run again")
                left -= len(data)
                yield data
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
