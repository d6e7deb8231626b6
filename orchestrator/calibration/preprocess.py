"""Pixels to model input, bit-equal to what the agent computes on a board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from orchestrator.errors import UserError


def preprocess(
    images: npt.NDArray[np.uint8],
    *,
    layout: Literal["NCHW", "NHWC"] = "NCHW",
    colour_order: Literal["RGB", "BGR"] = "RGB",
    mean: float | Sequence[float] = 127.5,
    std: float | Sequence[float] = 127.5,
) -> npt.NDArray[np.float32]:
    """(x - mean) / std, in float32 throughout.

    Args:
        images: uint8 (n, h, w, 3), RGB.
        layout: NCHW gives (n, 3, h, w), NHWC (n, h, w, 3).
        colour_order: the order the model was trained on.
        mean, std: in pixel units 0..255; one number, or three in `colour_order`.

    Returns:
        float32, contiguous.

    Raises:
        UserError: not uint8 RGB images, or a std of zero.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise UserError(
            f"images are {images.dtype} {images.shape}, expected uint8 (n, height, width, 3)"
        )
    centre, spread = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    if not np.all(spread > 0):
        raise UserError(f"std is {std}, expected positive numbers", "see the model's manifest")
    ordered = images[..., ::-1] if colour_order == "BGR" else images
    scaled = (ordered.astype(np.float32) - centre) / spread
    if layout == "NCHW":
        scaled = scaled.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(scaled)
