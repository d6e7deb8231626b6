"""images: a test set's faces, rendered or decoded once on the head and kept as raw bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FILE = "images.npy"
ROWS = "rows.json"
BLOCK = 128


class Rows(Protocol):
    """Images of one role; must be picklable, since worker processes make them."""

    @property
    def identities(self) -> Sequence[str]:
        """One a row."""

    def __len__(self) -> int: ...

    def images(self, start: int, stop: int) -> NDArray[np.uint8]:
        """uint8 (stop - start, height, width, 3), RGB."""


def make_images(
    rows: Rows,
    folder: Path,
    pool: ProcessPoolExecutor,
    progress: Callable[[int], None],
    stopped: Callable[[], bool],
) -> dict[str, str]:
    """Write `images.npy` (uint8, (n, h, w, 3)) and `rows.json` into `folder`.

    Args:
        rows: what to make.
        folder: the store's part folder.
        pool: processes that make blocks of images.
        progress: called with the number of images written.
        stopped: asked between blocks; True ends the work with InterruptedError.

    Returns:
        sha256 of each file.
    """
    starts = range(0, len(rows), BLOCK)
    target: np.memmap | None = None
    done = 0
    for start, block in _blocks(rows, list(starts), pool, stopped):
        if target is None:
            target = np.lib.format.open_memmap(
                folder / FILE, mode="w+", dtype=np.uint8, shape=(len(rows), *block.shape[1:])
            )
        target[start : start + len(block)] = block
        done += len(block)
        progress(done)
    if target is not None:
        target.flush()
        del target
    listing = json.dumps(list(rows.identities)).encode()
    (folder / ROWS).write_bytes(listing)
    with open(folder / FILE, "rb") as file:
        images = hashlib.file_digest(file, "sha256").hexdigest()
    return {FILE: images, ROWS: hashlib.sha256(listing).hexdigest()}


def _blocks(
    rows: Rows,
    starts: list[int],
    pool: ProcessPoolExecutor,
    stopped: Callable[[], bool],
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Blocks as they are made; few are under way at a time, so that memory stays bounded."""
    running: dict[Future[NDArray[np.uint8]], int] = {}
    todo = iter(starts)
    try:
        while True:
            while len(running) < 4 and (start := next(todo, None)) is not None:
                stop = min(start + BLOCK, len(rows))
                running[pool.submit(rows.images, start, stop)] = start
            if not running:
                return
            finished, _ = wait(running, timeout=0.5, return_when="FIRST_COMPLETED")
            if stopped():
                raise InterruptedError
            for future in finished:
                yield running.pop(future), future.result()
    finally:
        for future in running:
            future.cancel()


def read_rows(data: bytes) -> list[str]:
    """The identities that `make_images` listed, one a row."""
    rows: list[str] = json.loads(data)
    return rows
