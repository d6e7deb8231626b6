"""Boxes as offsets from prior boxes, with variances (SSD).

Source: Liu et al., "SSD: Single Shot MultiBox Detector", 2016, and, for RetinaFace's priors and
variances, biubug6/Pytorch_Retinaface (data/config.py, layers/functions/prior_box.py,
utils/box_utils.py): a prior's centre lies half a cell from the cell's corner; centre moves by
offset x 0.1 x the prior's side, sides grow by exp(offset x 0.2), points move like the centre.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from orchestrator.detection.boxes import Floats
from orchestrator.detection.heads.head import Size, grid, sides

CENTRE_VARIANCE, SIZE_VARIANCE = np.float32(0.1), np.float32(0.2)


def prior_boxes(size: Size, lengths: Mapping[int, tuple[float, ...]]) -> Floats:
    """Centre x, centre y, side in pixels, (n, 3); cell by cell, a cell's sides in their order.

    Args:
        size: height, width of the input.
        lengths: stride to the sides of its square priors, in pixels.
    """
    parts = []
    for stride, of_cell in lengths.items():
        centre = (grid(size, stride, len(of_cell)) + np.float32(0.5)) * np.float32(stride)
        side = np.tile(np.array(of_cell, np.float32), len(centre) // len(of_cell))
        parts.append(np.concatenate([centre, side[:, None]], 1))
    return np.concatenate(parts)


def boxes_of(priors: Floats, offsets: Floats) -> Floats:
    """Corners in pixels, (n, 4), from priors (n, 3) and offsets (n, 4)."""
    side = priors[:, 2:]
    centre = priors[:, :2] + offsets[:, :2] * CENTRE_VARIANCE * side
    half = side * sides(offsets[:, 2:] * SIZE_VARIANCE) / np.float32(2)
    return np.concatenate([centre - half, centre + half], 1)


def points_of(priors: Floats, offsets: Floats) -> Floats:
    """Points in pixels, (n, 5, 2), from priors (n, 3) and offsets (n, 10)."""
    moved = offsets.reshape(-1, 5, 2) * CENTRE_VARIANCE * priors[:, None, 2:]
    points: Floats = priors[:, None, :2] + moved
    return points
