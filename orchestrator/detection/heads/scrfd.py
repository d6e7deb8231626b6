"""SCRFD: distances from a cell to the four sides, in strides.

Source: Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2021, and
deepinsight/insightface, detection/scrfd/tools/scrfd.py: centre = cell x stride without half an
offset; a side lies distance x stride away, a point offset x stride. Three strides with two anchors
a cell, or five with one; scores have passed their sigmoid.
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
    grid,
    joined,
    probabilities,
    rows,
)

_VARIANTS = {  # number of outputs: strides, anchors a cell, whether there are points
    6: ((8, 16, 32), 2, False),
    9: ((8, 16, 32), 2, True),
    10: ((8, 16, 32, 64, 128), 1, False),
    15: ((8, 16, 32, 64, 128), 1, True),
}


def recognize(outputs: Sequence[Output], size: Size) -> tuple[str, ...] | None:
    """Scores of all strides, then distances, then points; by their shapes alone."""
    variant = _VARIANTS.get(len(outputs))
    if variant is None:
        return None
    strides, anchors, has_points = variant
    names: list[str] = []
    for width in (1, 4, 10) if has_points else (1, 4):
        for stride in strides:
            count = np.prod(cells(size, stride)) * anchors
            names += [
                output.name
                for output in outputs
                if output.shape[-1:] == (width,) and output.size == count * width
            ]
    return tuple(names) if len(names) == len(set(names)) == len(outputs) else None


def decode(outputs: Sequence[Floats], size: Size, least: float) -> Detections:
    """See `DetectionHead.decode`."""
    if len(outputs) not in _VARIANTS:
        raise DetectionError(
            f"an SCRFD head has {', '.join(map(str, _VARIANTS))} outputs, not {len(outputs)}"
        )
    strides, anchors, has_points = _VARIANTS[len(outputs)]
    found = []
    for level, stride in enumerate(strides):
        centres = grid(size, stride, anchors) * stride
        count = len(centres)
        scores = rows(outputs[level], count, 1, f"the score of stride {stride}")[:, 0]
        scores = probabilities(scores, f"the scores of stride {stride}")
        chosen = np.flatnonzero(scores >= least)
        centre = centres[chosen]
        distances = rows(outputs[len(strides) + level], count, 4, f"the box of stride {stride}")
        near, far = np.split(distances[chosen] * np.float32(stride), 2, axis=1)
        points = None
        if has_points:
            offsets = rows(outputs[2 * len(strides) + level], count, 10, f"points of {stride}")
            points = centre[:, None] + offsets[chosen].reshape(-1, 5, 2) * np.float32(stride)
        boxes = np.concatenate([centre - near, centre + far], 1)
        found.append(Detections(boxes, scores[chosen], points))
    return joined(found)


def _has_points(outputs: int) -> bool:
    return outputs in _VARIANTS and _VARIANTS[outputs][2]


SCRFD = DetectionHead("scrfd", _has_points, recognize, decode)
