"""A test set's images are made once: what was on the disk before a stop or a crash is kept."""

from __future__ import annotations

import os
import sys
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from orchestrator.images.rendered_rows import RenderedRows
from orchestrator.images.workers import Rendering
from orchestrator.stages.image_rows import APART, BLOCK, FILE, make_images
from orchestrator.store.artifacts import Store

COUNT = 7 * BLOCK + 5


class Numbered:
    """Row i is full of i's low bytes; remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    @property
    def identities(self) -> list[str]:
        return [str(i) for i in range(COUNT)]

    def __len__(self) -> int:
        return COUNT

    def beside(self) -> dict[str, bytes]:
        return {}

    def lost(self, images: np.ndarray) -> tuple[int, ...]:
        return ()

    def images(self, start: int, stop: int) -> np.ndarray:
        self.asked.append((start, stop))
        numbers = np.arange(start, stop, dtype=np.int64)[:, None, None, None]
        return np.broadcast_to(numbers * 37 % 251, (stop - start, 6, 5, 3)).astype(np.uint8)


def make(folder: Path, rows: Numbered, stop_after: int = COUNT + 1) -> dict[str, str]:
    """Stops at the next opportunity once so many images are on the disk."""
    seen = [0]
    with ThreadPoolExecutor(1) as pool:
        return make_images(rows, folder, pool, seen.append, lambda: seen[-1] >= stop_after)


def test_a_stopped_rendering_goes_on_where_it_was(tmp_path):
    store = Store(tmp_path)
    part = store.part("images", "k")
    with pytest.raises(InterruptedError):
        make(part, Numbered(), stop_after=2 * BLOCK)
    # A crash may also have zeroed a page of a block that is journalled: that block is made again.
    with open(part / FILE, "r+b") as file:
        file.seek(128 + 3 * 90)
        file.write(bytes(90))
    rows, seen = Numbered(), []
    with ThreadPoolExecutor(1) as pool:
        hashes = make_images(rows, part, pool, seen.append, lambda: False)
    again = {pair for pair in rows.asked if pair != (0, 1)}
    assert (0, BLOCK) in again
    assert 4 <= len(again) <= 8
    assert seen[0] > 0
    assert seen[-1] == COUNT
    whole = store.part("images", "whole")
    assert make(whole, Numbered()) == hashes
    assert (part / FILE).read_bytes() == (whole / FILE).read_bytes()
    np.testing.assert_array_equal(np.load(part / FILE), Numbered().images(0, COUNT))
    held = [
        store.commit("images", key, provenance={}, hashes=hashes, apart=APART)
        for key in ("k", "whole")
    ]
    assert held[0].content == held[1].content, "how they came is no part of the content"


def loaded(rows: RenderedRows) -> list[str]:
    """In a process that makes images: what of farm it has loaded once it has made one."""
    rows.images(0, 1)
    return [name for name in sys.modules if name.startswith("orchestrator.")]


def test_steps_that_follow_each_other_have_the_same_processes():
    rows = RenderedRows(array("q", [1, 2]), 0, 0, 1.0)
    rendering = Rendering(pause_s=60.0)
    try:
        with rendering.processes() as first:
            first.submit(os.getpid).result()
        with rendering.processes() as second:
            names = second.submit(loaded, rows).result()
        assert second is first
        assert not [name for name in names if name.startswith("orchestrator.specs")]
    finally:
        rendering.close()


def test_processes_that_have_nothing_to_make_end():
    rendering = Rendering(pause_s=0.05)
    with rendering.processes() as pool:
        pid = pool.submit(os.getpid).result()
    end = time.monotonic() + 60
    while not pool._shutdown_thread and time.monotonic() < end:
        time.sleep(0.01)
    with rendering.processes() as another:
        assert another is not pool
        assert another.submit(os.getpid).result() != pid
    rendering.close()
