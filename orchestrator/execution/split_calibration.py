"""One calibration divided among Ray workers, with one progress bar for all of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.stages import calibrate

if TYPE_CHECKING:
    from orchestrator.cluster.interfaces import Computes


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
    cores = len(os.sched_getaffinity(0))
    workers = workers or calibrate.shards(count, len(model), cores)
    total = count * calibrate.passes(calibrator)
    done = 0
    guard = threading.Lock()

    def one(part: tuple[int, int], method: str, ranges: bytes | None) -> bytes:
        nonlocal done
        table = b""
        for news in compute.watch(
            calibrate.calibrate,
            model,
            images[part[0] : part[1]],
            params["preprocessing"],
            method,
            params["equalize"],
            ranges,
            0 if workers == 1 else max(1, cores // workers),
        ):
            if isinstance(news, bytes):
                table = news
                continue
            with guard:
                done += news.images
                progress(done, total)
        return table

    def everywhere(method: str, ranges: bytes | None) -> bytes:
        parts = calibrate.slices(count, workers)
        with ThreadPoolExecutor(workers) as pool:
            tables = list(pool.map(lambda part: one(part, method, ranges), parts))
        return tables[0] if workers == 1 else compute.run(calibrate.merge, tables)

    if workers == 1 or calibrator == "minmax":
        return everywhere(calibrator, None), workers
    ranges = everywhere("minmax", None)
    return everywhere(calibrator, ranges), workers
