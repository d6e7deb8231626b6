"""The files of one role's images in the store: made by helper processes, kept as raw bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.store.artifacts import Held
from orchestrator.store.rows import JOURNAL, RowWriter, summary_of

FILE = "images.npy"
ROWS = "rows.json"
LOST = "lost.json"
"""Numbers of rows whose photo has no face; there only where some have none."""
APART = (JOURNAL, summary_of(FILE))
"""How the images came; no part of what they are."""

BLOCK = 128


class Rows(Protocol):
    """Images of one role; must be picklable, since worker processes make them."""

    @property
    def identities(self) -> Sequence[str]:
        """One a row."""

    @property
    def names(self) -> Sequence[str]:
        """What to call each image in a message."""

    def __len__(self) -> int: ...

    def images(self, start: int, stop: int) -> NDArray[np.uint8]:
        """uint8 (stop - start, height, width, 3), RGB."""

    def beside(self) -> Mapping[str, bytes]:
        """Files that are stored beside the images, by name."""

    def lost(self, images: NDArray[np.uint8]) -> Sequence[int]:
        """Which of the images are of a photo without a face."""


def make_images(
    rows: Rows,
    folder: Path,
    pool: ProcessPoolExecutor,
    progress: Callable[[int], None],
    stopped: Callable[[], bool],
) -> dict[str, str]:
    """Write `images.npy` (uint8, (n, h, w, 3)), `rows.json` and what is beside them into `folder`.

    What an earlier try left there is checked against its checksums and kept.

    Args:
        rows: what to make.
        folder: the store's part folder.
        pool: processes that make blocks of images.
        progress: called with the number of images that are on the disk.
        stopped: asked between blocks; True ends the work with InterruptedError.

    Returns:
        sha256 of each file.
    """
    beside = pool.submit(rows.beside)
    shape = pool.submit(rows.images, 0, 1).result().shape[1:]
    with RowWriter.open_rows(folder / FILE, len(rows), shape, "uint8", {}) as writer:
        missing = writer.missing()
        done = len(rows) - sum(stop - start for start, stop in missing)
        progress(done)
        blocks = [
            (start, min(start + BLOCK, stop))
            for first, stop in missing
            for start in range(first, stop, BLOCK)
        ]
        for start, block in _blocks(rows, blocks, pool, stopped):
            writer.write(start, block)
            done += len(block)
            progress(done)
        images = str(writer.finish()["sha256"])
    files = {ROWS: json.dumps(list(rows.identities)).encode(), **beside.result()}
    lost = rows.lost(np.load(folder / FILE, mmap_mode="r"))
    if lost:
        files[LOST] = json.dumps(list(lost)).encode()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return {FILE: images, **hashes}


def _blocks(
    rows: Rows,
    blocks: list[tuple[int, int]],
    pool: ProcessPoolExecutor,
    stopped: Callable[[], bool],
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Blocks as they are made; few are under way at a time, so that memory stays bounded."""
    running: dict[Future[NDArray[np.uint8]], int] = {}
    todo = iter(blocks)
    try:
        while True:
            while len(running) < 4 and (block := next(todo, None)) is not None:
                running[pool.submit(rows.images, *block)] = block[0]
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


def lost_rows(held: Held) -> list[int]:
    """Numbers of the rows whose photo has no face: failures to acquire."""
    rows: list[int] = json.loads(held.read(LOST)) if LOST in held.manifest["files"] else []
    return rows


def count(held: Held) -> int:
    """How many images a result of the images stage has."""
    return int(held.manifest["facts"]["count"])
