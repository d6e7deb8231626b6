"""Boxes, their overlap, and what a detector found in one image.

A box is x1, y1, x2, y2 in pixels: x to the right, y down, from the image's top left corner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.detection.errors import DetectionError

Floats = NDArray[np.float32]
POINTS = 5  # left eye, right eye, nose, left and right corner of the mouth, as the image shows them


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in one image, best score first.

    Attributes:
        boxes: float32 (n, 4), x1, y1, x2, y2 in pixels.
        scores: float32 (n,).
        points: float32 (n, 5, 2), x and y in pixels of left eye, right eye, nose, left and right
            corner of the mouth (left and right of the image); None where the head has no points.
    """

    boxes: Floats
    scores: Floats
    points: Floats | None = None

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes.shape != (count, 4) or self.scores.shape != (count,):
            raise DetectionError(
                f"{count} scores need boxes of shape ({count}, 4), not {self.boxes.shape}"
            )
        if self.points is not None and self.points.shape != (count, POINTS, 2):
            raise DetectionError(
                f"{count} boxes need points of shape ({count}, 5, 2), not {self.points.shape}"
            )

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.scores)

    @classmethod
    def none(cls, *, points: bool = False) -> Detections:
        """What is found where nothing is."""
        return cls(
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros((0, POINTS, 2), np.float32) if points else None,
        )

    def chosen(self, index: NDArray[np.integer] | NDArray[np.bool_]) -> Detections:
        """Those of `index` (positions or a mask), in its order."""
        points = None if self.points is None else self.points[index]
        return Detections(self.boxes[index], self.scores[index], points)


def overlaps(
    first: NDArray[np.floating], second: NDArray[np.floating], *, inclusive: bool
) -> NDArray[np.float64]:
    """Intersection over union of each pair of boxes.

    Args:
        first: (n, 4) in pixels.
        second: (m, 4) in pixels.
        inclusive: whether sides count both their end pixels (x2 - x1 + 1), as WIDER FACE's
            evaluation and SCRFD have it; boxes that only touch have no intersection then either.

    Returns:
        float64 (n, m), 0 to 1.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    more = 1.0 if inclusive else 0.0
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(high - low + more, axis=2) * (low < high).all(axis=2)
    area_a = np.prod(a[:, 2:] - a[:, :2] + more, axis=1)
    area_b = np.prod(b[:, 2:] - b[:, :2] + more, axis=1)
    union = area_a[:, None] + area_b[None] - inter
    shares: NDArray[np.float64] = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return shares
