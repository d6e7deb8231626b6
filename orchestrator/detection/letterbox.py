"""An image of any size into a model's input: ratio kept, zeros at the right and at the bottom.

The convention of InsightFace's SCRFD (detection/scrfd/tools/scrfd.py), with one difference: there
the shorter side is rounded down and the image stretched to it, by less than a pixel; here both
sides have exactly the same ratio, so that this one number takes boxes back. Bilinear without a
low-pass filter, as there. Weights are whole 2048ths, as in OpenCV's resize, so that every machine
computes the same pixels.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from orchestrator.detection.errors import DetectionError

_BITS = 11
_ONE = 1 << _BITS


def ratio(original: tuple[int, int], size: tuple[int, int]) -> float:
    """Pixels of the input per pixel of the original: divide an input's x and y by it.

    Args:
        original: height, width of the original image.
        size: height, width of the model's input.

    Raises:
        DetectionError: a side below 1.
    """
    return float(_ratio(original, size))


def letterbox(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The image resized into the top left corner, zeros beside it.

    Args:
        image: uint8 (h, w, 3).
        size: height, width (H, W) of the model's input.

    Returns:
        uint8 (H, W, 3).

    Raises:
        DetectionError: another shape or type, or a side below 1.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DetectionError(
            f"an image is uint8 (height, width, 3), not {image.dtype} {image.shape}"
        )
    scale = _ratio((image.shape[0], image.shape[1]), size)
    canvas = np.zeros((*size, 3), np.uint8)
    rows = _taps(image.shape[0], max(int(image.shape[0] * scale), 1), scale)
    columns = _taps(image.shape[1], max(int(image.shape[1] * scale), 1), scale)
    wide = _blend(image.astype(np.int32), *columns, axis=1)
    full = _blend(wide, *rows, axis=0)
    half = 1 << (2 * _BITS - 1)
    canvas[: full.shape[0], : full.shape[1]] = (full + half) >> (2 * _BITS)
    return canvas


def _ratio(original: tuple[int, int], size: tuple[int, int]) -> Fraction:
    if min(*original, *size) < 1:
        raise DetectionError(f"an image of {original} cannot be resized to {size} pixels")
    return min(Fraction(size[0], original[0]), Fraction(size[1], original[1]))


def _taps(
    length: int, wanted: int, scale: Fraction
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """For each wanted pixel the two source pixels, and the second one's weight in 2048ths."""
    centre = (2 * np.arange(wanted, dtype=np.int64) + 1) * scale.denominator - scale.numerator
    place = (centre * _ONE + scale.numerator) // (2 * scale.numerator)  # rounded
    place = np.clip(place, 0, (length - 1) * _ONE)
    first = place >> _BITS
    second = np.minimum(first + 1, length - 1)
    return first, second, (place & (_ONE - 1)).astype(np.int32)


def _blend(
    pixels: NDArray[np.int32],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    weight: NDArray[np.int32],
    axis: int,
) -> NDArray[np.int32]:
    part = weight[:, None, None] if axis == 0 else weight[None, :, None]
    lower, upper = np.take(pixels, first, axis), np.take(pixels, second, axis)
    blended: NDArray[np.int32] = lower * (_ONE - part) + upper * part
    return blended
