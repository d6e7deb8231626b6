"""Ultra-Light-Fast-Generic-Face-Detector: boxes that the model decodes itself, without points.

Source: Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB (vision/ssd/config/fd_config.py and its
exported ONNX files): probabilities of background and face (1, n, 2) and corners as fractions of
the input's width and height (1, n, 4).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.detection.boxes import Detections, Floats
from orchestrator.detection.errors import DetectionError
from orchestrator.detection.heads.head import (
    DetectionHead,
    Output,
    Size,
    cells,
    probabilities,
    rows,
)

_INVERTED = 0.05  # of the image; more than quantization does to a tiny box
_BOXES_A_CELL = {8: 3, 16: 2, 32: 2, 64: 3}


def _count(size: Size) -> int:
    return sum(int(np.prod(cells(size, stride))) * n for stride, n in _BOXES_A_CELL.items())


def recognize(outputs: Sequence[Output], size: Size) -> tuple[str, ...] | None:
    """Scores and boxes, by their shapes alone."""
    count = _count(size)
    by_width = {output.shape[-1:]: output for output in outputs if output.shape[-2:-1] == (count,)}
    if len(outputs) != 2 or set(by_width) != {(2,), (4,)}:
        return None
    return by_width[(2,)].name, by_width[(4,)].name


def decode(outputs: Sequence[Floats], size: Size, least: float) -> Detections:
    """See `DetectionHead.decode`."""
    if len(outputs) != 2:
        raise DetectionError(f"an Ultra-Light head has 2 outputs, not {len(outputs)}")
    count = _count(size)
    scores = probabilities(rows(outputs[0], count, 2, "the scores"), "the scores")[:, 1]
    chosen = np.flatnonzero(scores >= least)
    height, width = size
    corners = rows(outputs[1], count, 4, "the boxes")
    if (corners[:, 2:] < corners[:, :2] - _INVERTED).any():
        raise DetectionError(
            "boxes end before they begin: this Ultra-Light file was exported without its decoding "
            "of boxes; export it with that"
        )
    boxes = corners[chosen]
    whole = np.array([width, height, width, height], np.float32)
    return Detections(boxes * whole, scores[chosen])


ULTRALIGHT = DetectionHead("ultralight", lambda outputs: False, recognize, decode)
