"""calibrate: the ranges of every activation, once a model and calibration set.

It can be divided among workers: each calibrates a slice, and the merged table is, to the last
byte, that of a single worker, so the number of shards is in no key. percentile and entropy take
two rounds then, since all slices must count over the range of the whole set.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.stages.accuracy_helpers import source_of
from orchestrator.stages.call_stream import following
from orchestrator.stages.quantize import inputs_of
from orchestrator.stages.stage_output import Made

BATCH = 8
FILE = "table.bin"
REPORT_IMAGES = 4

# Images times bytes of the model that one worker should have before a second one pays: a worker
# takes a second or two to start and holds the model once more. About 10 s of an IResNet-50.
WORTH_A_SHARD = 5e9


@dataclass(frozen=True)
class Seen:
    """So many images more have gone through the network."""

    images: int


def shards(images: int, model_bytes: int, cores: int) -> int:
    """Among how many workers a calibration is divided."""
    worth = int(images * model_bytes / WORTH_A_SHARD)
    return max(1, min(worth, cores, images))


def slices(images: int, count: int) -> list[tuple[int, int]]:
    """`count` slices of nearly equal size, (start, stop) each."""
    cuts = [images * i // count for i in range(count + 1)]
    return list(itertools.pairwise(cuts))


def passes(calibrator: str) -> int:
    """How often each image goes through the network."""
    return 1 if calibrator == "minmax" else 2


def calibrate(
    model: bytes,
    images: NDArray[np.uint8],
    preprocessing: Mapping[str, Any],
    calibrator: str,
    equalize: bool = False,
    ranges: bytes | None = None,
    threads: int = 0,
) -> Iterator[Seen | bytes]:
    """Estimate ranges; yields how far it is, last the table's bytes.

    Args:
        model: the float32 ONNX file.
        images: uint8 (n, height, width, 3), RGB: the set or a slice of it.
        preprocessing: `layout`, `colour`, `mean`, `std` of the model's manifest.
        calibrator: `minmax`, `percentile` or `entropy`.
        equalize: calibrate the equalized model.
        ranges: the merged minmax table of all slices, when `images` is one of them.
        threads: of onnxruntime within an operator; 0 is its own choice.
    """
    from orchestrator import calibration

    def batches() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(images), BATCH):
            yield inputs_of(images[start : start + BATCH], preprocessing)

    def work(say: Callable[[Seen], None]) -> bytes:
        def progress(done: int, _: str) -> None:
            if done % REPORT_IMAGES == 0 or done == len(images):
                say(Seen(min(REPORT_IMAGES, (done - 1) % REPORT_IMAGES + 1)))

        known = None if ranges is None else calibration.CalibrationTable.from_bytes(ranges)
        table = calibration.calibrate(
            source_of(model, {"equalize": equalize}),
            batches,
            calibrator,
            ranges=known,
            threads=threads,
            progress=progress,
        )
        return table.to_bytes()

    yield from following(work, "calibrate")


def merge(tables: Sequence[bytes]) -> bytes:
    """The table of all slices, from theirs."""
    from orchestrator.calibration import CalibrationTable

    merged, *others = (CalibrationTable.from_bytes(data) for data in tables)
    for other in others:
        merged = merged.merge(other)
    return merged.to_bytes()


def made(table: bytes, images: int, calibrator: str, images_content: str, workers: int) -> Made:
    """The step's output."""
    return Made(
        {FILE: table},
        {"images": images},
        {"calibrator": calibrator, "calibration_set": images_content, "shards": workers},
    )
