"""calibrate: the ranges of every activation, once a model and calibration set.

It can be divided among workers: each calibrates a slice, and the merged table is, to the last
byte, that of a single worker, so the number of shards is in no key. percentile and entropy take
two rounds then, since all slices must count over the range of the whole set.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.cluster.interfaces import Computes
from orchestrator.data.progress import Progress
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.stages import image_rows
from orchestrator.stages.accuracy_helpers import source_of
from orchestrator.stages.call_stream import following
from orchestrator.stages.quantize import TABLE, inputs_of
from orchestrator.stages.stage import Stage
from orchestrator.stages.stage_output import StageOutput
from orchestrator.stages.work import Work

BATCH = 8
REPORT_IMAGES = 4

# Images times bytes of the model that one worker should have before a second one pays: a worker
# takes a second or two to start and holds the model once more. About 10 s of an IResNet-50.
WORTH_A_SHARD = 5e9


def run(work: Work) -> StageOutput:
    """Calibrate in Ray workers, as many as pay."""
    step, pictures = work.step, work.input("images")
    table, workers = calibrated(
        work.services.compute,
        work.model(),
        np.load(pictures.verify(image_rows.FILE), mmap_mode="r"),
        step.params,
        lambda done, total: work.progress(done, total, "images"),
    )
    images = image_rows.count(pictures)
    return output_of(table, images, step.params["calibrator"], pictures.content, workers)


def calibrated(
    compute: Computes,
    model: bytes,
    images: NDArray[np.uint8],
    params: dict[str, Any],
    progress: Callable[[int, int], None],
    workers: int | None = None,
) -> tuple[bytes, int]:
    """The calibration table of a set of images.

    Args:
        compute: where the work goes.
        model: the float32 ONNX file.
        images: uint8 (n, height, width, 3); memory-mapped, each worker is sent its slice.
        params: the step's: `preprocessing`, `calibrator`, `equalize`.
        progress: called with (images through the network, all of them).
        workers: how many; as many as pay when left out.

    Returns:
        The table's bytes, the same for any number of workers; and that number.

    Raises:
        FarmError: what a worker raised.
    """
    count, calibrator = len(images), params["calibrator"]
    workers = workers or shards(count, len(model), len(os.sched_getaffinity(0)))
    tally = _Tally(count * passes(calibrator), progress)

    def one(part: tuple[int, int], method: str, ranges: bytes | None) -> bytes:
        news = compute.watch(
            calibrate,
            model,
            images[part[0] : part[1]],
            params["preprocessing"],
            method,
            params["equalize"],
            ranges,
        )
        return tally.table(news)

    def everywhere(method: str, ranges: bytes | None) -> bytes:
        parts = slices(count, workers)
        with ThreadPoolExecutor(workers) as pool:
            tables = list(pool.map(lambda part: one(part, method, ranges), parts))
        return tables[0] if workers == 1 else compute.run(merge, tables)

    if workers == 1 or calibrator == "minmax":
        return everywhere(calibrator, None), workers
    ranges = everywhere("minmax", None)
    return everywhere(calibrator, ranges), workers


class _Tally:
    """Adds up how far the workers are. Thread-safe."""

    def __init__(self, total: int, progress: Callable[[int, int], None]) -> None:
        self._done, self._total, self._progress = 0, total, progress
        self._guard = threading.Lock()

    def table(self, news: Iterable[Progress | bytes]) -> bytes:
        """Follow a worker to its end; the table that it makes."""
        before, table = 0, b""
        for each in news:
            if isinstance(each, bytes):
                table = each
                continue
            with self._guard:
                self._done += each.done - before
                self._progress(self._done, self._total)
            before = each.done
        return table


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
) -> Iterator[Progress | bytes]:
    """Estimate ranges; yields how far it is, last the table's bytes.

    Args:
        model: the float32 ONNX file.
        images: uint8 (n, height, width, 3), RGB: the set or a slice of it.
        preprocessing: `layout`, `colour`, `mean`, `std` of the model's manifest.
        calibrator: `minmax`, `percentile` or `entropy`.
        equalize: calibrate the equalized model.
        ranges: the merged minmax table of all slices, when `images` is one of them.
    """
    from orchestrator import calibration

    def batches() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(images), BATCH):
            yield inputs_of(images[start : start + BATCH], preprocessing)

    total = len(images) * (1 if ranges is not None else passes(calibrator))

    def work(say: Callable[[Progress], None]) -> bytes:
        through = 0

        def progress(done: int, _: str) -> None:
            nonlocal through
            through += 1
            if done % REPORT_IMAGES == 0 or done == len(images):
                say(Progress(through, total))

        known = None if ranges is None else calibration.CalibrationTable.from_bytes(ranges)
        table = calibration.calibrate(
            source_of(model, {"equalize": equalize}),
            batches,
            calibrator,
            ranges=known,
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


def output_of(
    table: bytes, images: int, calibrator: str, images_content: str, workers: int
) -> StageOutput:
    """The step's output."""
    return StageOutput(
        {TABLE: table},
        {"images": images},
        {"calibrator": calibrator, "calibration_set": images_content, "shards": workers},
    )


def summary(facts: Mapping[str, Any]) -> str:
    """Nothing: how many images is said by their own step."""
    return ""


STAGE = Stage(STAGE_FACTS["calibrate"], ("images",), run, summary)
