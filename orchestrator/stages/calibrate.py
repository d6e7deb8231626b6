"""calibrate: the ranges of every activation, once a model and calibration set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.stages.helpers import source_of
from orchestrator.stages.made import Made
from orchestrator.stages.quantize import inputs_of

BATCH = 8
FILE = "table.bin"


def calibrate(
    model: bytes,
    images: NDArray[np.uint8],
    preprocessing: Mapping[str, Any],
    calibrator: str,
    images_content: str,
    equalize: bool = False,
) -> Made:
    """Estimate ranges.

    Args:
        model: the float32 ONNX file.
        images: uint8 (n, height, width, 3), RGB.
        preprocessing: `layout`, `colour`, `mean`, `std` of the model's manifest.
        calibrator: `minmax`, `percentile` or `entropy`.
        images_content: the calibration set's content hash, for the provenance.
        equalize: calibrate the equalized model.
    """
    from orchestrator import calibration

    def batches() -> Any:
        for start in range(0, len(images), BATCH):
            yield inputs_of(images[start : start + BATCH], preprocessing)

    source = source_of(model, {"equalize": equalize})
    table = calibration.calibrate(source, batches, calibrator)
    return Made(
        {FILE: table.to_bytes()},
        {"images": len(images)},
        {"calibrator": calibrator, "calibration_set": images_content},
    )
