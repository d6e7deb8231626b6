"""CenterFace: a heat map of face centres at a quarter of the input's size.

Source: Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019, and
Star-Clouds/CenterFace, prj-python/centerface.py: sides = exp(scale) x 4 (height first), centre =
(cell + offset + 0.5) x 4 (vertical offset first), point = top left corner + value x side (vertical
value first). Outputs: heat map (1, 1, h, w), scale (1, 2, h, w), offset (1, 2, h, w), points
(1, 10, h, w).
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
    sides,
)

STRIDE = 4


def recognize(outputs: Sequence[Output], size: Size) -> tuple[str, ...] | None:
    """Heat map, scale, offset, points; scale comes before offset, whose shape it has."""
    plane = cells(size, STRIDE)
    names: list[str] = []
    for channels, wanted in ((1, 1), (2, 2), (10, 1)):
        found = [output.name for output in outputs if output.shape == (1, channels, *plane)]
        if len(found) != wanted:
            return None
        names += found
    return tuple(names) if len(outputs) == 4 else None


def decode(outputs: Sequence[Floats], size: Size, least: float) -> Detections:
    """See `DetectionHead.decode`."""
    if len(outputs) != 4:
        raise DetectionError(f"a CenterFace head has 4 outputs, not {len(outputs)}")
    height, width = cells(size, STRIDE)
    count = height * width
    heat, scale, offset, marks = (
        rows(output, channels, count, what)
        for output, channels, what in zip(
            outputs, (1, 2, 2, 10), ("the heat map", "scale", "offset", "points"), strict=True
        )
    )
    probabilities(heat, "the heat map's scores")
    chosen = np.flatnonzero(heat[0] >= least)
    by = np.float32(STRIDE)
    row, column = np.divmod(chosen, width)
    cell = np.stack([column, row], 1).astype(np.float32)
    size_of = sides(scale[::-1, chosen].T) * by  # width, height
    near = (cell + offset[::-1, chosen].T + np.float32(0.5)) * by - size_of / np.float32(2)
    vertical_first = marks[:, chosen].T.reshape(-1, 5, 2)
    points: Floats = near[:, None] + vertical_first[:, :, ::-1] * size_of[:, None]
    return Detections(np.concatenate([near, near + size_of], 1), heat[0, chosen], points)


CENTERFACE = DetectionHead("centerface", lambda outputs: True, recognize, decode)
