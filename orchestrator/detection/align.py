"""A face by its five points into the standard upright square that recognizers want."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestrator.detection.boxes import POINTS
from orchestrator.detection.errors import DetectionError

# ArcFace's template for 112 x 112: left eye, right eye, nose, left and right corner of the mouth.
TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
SIZE = 112
"""Height and width of an aligned face in pixels."""


def similarity(points: NDArray[np.floating], template: NDArray[np.floating]) -> NDArray[np.float64]:
    """The turn, scale and shift that bring points nearest to a template, by least squares.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", 1991. In the plane and without mirroring it is a division of complex numbers.

    Args:
        points, template: (n, 2), x and y in pixels.

    Returns:
        float64 (2, 3): template = matrix[:, :2] @ point + matrix[:, 2].

    Raises:
        DetectionError: points that are not finite, or all in one place.
    """
    found, wanted = (p[:, 0].astype(float) + 1j * p[:, 1] for p in (points, template))
    if not np.isfinite(found).all():
        raise DetectionError("a point of the face is not known")
    middle, target = found.mean(), wanted.mean()
    spread = (np.abs(found - middle) ** 2).sum()
    if spread < 1e-9:
        raise DetectionError("all points of the face are in one place")
    turn = ((wanted - target) * np.conj(found - middle)).sum() / spread
    shift = target - turn * middle
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def aligned(image: NDArray[np.uint8], points: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The face as the standard template has it; black where the image ends.

    Bilinear without a low-pass filter, as the field's alignment has it (OpenCV's warpAffine), so
    that faces look as those did that recognizers were trained with.

    Args:
        image: uint8 (h, w, 3).
        points: (5, 2), x and y in pixels of the image, in the order of `Detections.points`.

    Returns:
        uint8 (112, 112, 3).

    Raises:
        DetectionError: points of another shape, not finite, or all in one place.
    """
    if points.shape != (POINTS, 2):
        raise DetectionError(f"a face has points of shape (5, 2), not {points.shape}")
    matrix = similarity(points, TEMPLATE)
    back = np.linalg.inv(matrix[:, :2])
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    place = (np.stack([x, y], -1) - matrix[:, 2]) @ back.T
    return _sampled(image, place[..., 0], place[..., 1])


def _sampled(
    image: NDArray[np.uint8], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    edged = np.zeros((height + 2, width + 2, 3), np.float32)
    edged[1:-1, 1:-1] = image
    x, y = np.clip(x + 1, 0, width + 0.999), np.clip(y + 1, 0, height + 0.999)
    left, top = x.astype(np.int64), y.astype(np.int64)
    right, down = (x - left)[..., None], (y - top)[..., None]
    upper = edged[top, left] * (1 - right) + edged[top, left + 1] * right
    lower = edged[top + 1, left] * (1 - right) + edged[top + 1, left + 1] * right
    levels: NDArray[np.uint8] = np.rint(upper * (1 - down) + lower * down).astype(np.uint8)
    return levels
