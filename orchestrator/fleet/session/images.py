"""Images to a board from a thread of their own, features back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from orchestrator.agents.protocol.wire import IMAGES, Frame, WireError, number
from orchestrator.data.features import Features
from orchestrator.fleet.session.link import SessionLink
from orchestrator.fleet.session.types import ImageSource, clean_text

# Rows of features that may wait for the caller before no more images are sent.
_BACKLOG = 8192
Check = Callable[[Any, tuple[int, ...]], None]


class Sender:
    """Reads images and sends them from a thread of its own, as far as credit allows.

    Args:
        chunk: images read at once.
        check: raises UserError unless what it is given has the shape that it is given.
        runs: which images, as (start, stop); the board has the others.

    Attributes:
        error: what the source or the check raised; the waiting caller is woken by `cancel`.
    """

    def __init__(
        self,
        link: SessionLink,
        job: int,
        images: ImageSource,
        chunk: int,
        check: Check,
        runs: Sequence[tuple[int, int]],
    ) -> None:
        self._link, self._job, self._images = link, job, images
        self._chunk, self._check, self._runs = max(1, chunk), check, runs
        self._room = threading.Condition()
        self._taken = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="images", daemon=True)
        self._image_bytes = 0
        self.error: BaseException | None = None

    def start(self, image_bytes: int) -> None:
        """Begin to send."""
        self._image_bytes = image_bytes
        self._thread.start()

    def taken(self, count: int) -> None:
        """The caller has got this many rows."""
        with self._room:
            self._taken = count
            self._room.notify()

    def stop(self) -> None:
        """Send no more; the caller has no further use for features."""
        with self._room:
            self._stopped = True
            self._room.notify()

    def join(self) -> None:
        """Wait for the thread's end, which a source that blocks may put off."""
        self._thread.join(5.0)

    def _run(self) -> None:
        try:
            self._send_all()
        except BaseException as error:
            # Whatever the source raises belongs to the caller, who waits in another thread.
            self.error = error
            self._link.cancel()

    def _send_all(self) -> None:
        flow = self._link.use_flow(self._image_bytes)
        for first, size in self._pieces():
            block = self._images.read(first, size)
            self._check(block, (size,))
            raw = np.ascontiguousarray(block).data.cast("B")
            at = 0
            while at < len(block):
                count = min(flow.images_a_frame, len(block) - at)
                piece = raw[at * self._image_bytes : (at + count) * self._image_bytes]
                meta = {"start": first + at, "count": count}
                if not self._wait(first + at) or not self._link.send_images(
                    Frame(IMAGES, self._job, meta, piece)
                ):
                    return
                at += count

    def _pieces(self) -> Iterator[tuple[int, int]]:
        for start, stop in self._runs:
            for first in range(start, stop, self._chunk):
                yield first, min(self._chunk, stop - first)

    def _wait(self, sent: int) -> bool:
        with self._room:
            while not self._stopped and sent - self._taken > _BACKLOG:
                self._room.wait(1.0)
            return not self._stopped


def features(frame: Frame, expected: int, total: int, dim: int) -> Features:
    """The block in a FEATURES frame.

    Args:
        expected: index of the first image of the block.
        total: images of the job.
        dim: length of a feature.

    Raises:
        WireError: it is another block, or not of that size.
    """
    start = number(frame.meta, "start", expected, expected)
    count = number(frame.meta, "count", 1, total - start)
    if len(frame.payload) != 4 * count * dim:
        raise WireError(f"{count} features of {dim} in {len(frame.payload)} bytes")
    rows = np.frombuffer(frame.payload, "<f4").astype(np.float32, copy=False)
    numbers = frame.meta.get("failed", [])
    reasons: dict[int, str] = {}
    for each in numbers if isinstance(numbers, list) else [None]:
        if not isinstance(each, list) or len(each) != 2:
            raise WireError("a failed image without index and reason")
        index = number({"index": each[0]}, "index", start, start + count - 1)
        reasons[index] = clean_text(each[1])
    failed = np.zeros(count, bool)
    failed[[index - start for index in reasons]] = True
    in_order = tuple(reasons[index] for index in sorted(reasons))
    return Features(rows.reshape(count, dim), failed, start=start, reasons=in_order)
