"""The letterbox: its pixels, its ratio and its zeros."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.detection.errors import DetectionError
from orchestrator.detection.letterbox import letterbox, ratio


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(
        0, 256, (height, width, 3), np.uint8
    )


def test_an_image_of_the_size_stays() -> None:
    image = noise(24, 32)
    np.testing.assert_array_equal(letterbox(image, (24, 32)), image)
    assert ratio((24, 32), (24, 32)) == 1


@pytest.mark.parametrize(
    ("original", "size", "inside"),
    [
        ((480, 640), (240, 320), (240, 320)),
        ((48, 64), (240, 320), (240, 320)),
        ((100, 100), (240, 320), (240, 240)),
        ((60, 200), (128, 160), (48, 160)),
        ((300, 90), (100, 320), (100, 30)),
    ],
)
def test_pixels_are_opencvs_and_the_rest_is_zero(
    original: tuple[int, int], size: tuple[int, int], inside: tuple[int, int]
) -> None:
    image = noise(*original)
    made = letterbox(image, size)
    wanted = cv2.resize(image, inside[::-1], interpolation=cv2.INTER_LINEAR)
    difference = np.abs(made[: inside[0], : inside[1]].astype(int) - wanted)
    assert difference.max() <= 1
    assert made[inside[0] :].sum() == 0
    assert made[:, inside[1] :].sum() == 0


sides = st.integers(1, 90)


@settings(max_examples=60, deadline=None)
@given(sides, sides, sides, sides)
def test_a_place_is_taken_back_by_the_ratio(h: int, w: int, height: int, width: int) -> None:
    """A ramp's value is its place, so every pixel says where it was taken from."""
    image = np.zeros((h, w, 3), np.uint8)
    image[..., 0] = 2 * np.arange(h)[:, None]
    image[..., 1] = 2 * np.arange(w)[None]
    image[..., 2] = 255
    made = letterbox(image, (height, width))
    scale = ratio((h, w), (height, width))
    rows, columns = max(int(h * scale + 1e-9), 1), max(int(w * scale + 1e-9), 1)
    assert (made[:rows, :columns, 2] == 255).all()
    assert made[rows:].sum() == made[:, columns:].sum() == 0
    y = np.clip((np.arange(rows) + 0.5) / scale - 0.5, 0, h - 1)
    x = np.clip((np.arange(columns) + 0.5) / scale - 0.5, 0, w - 1)
    assert np.abs(made[:rows, :columns, 0] - 2 * y[:, None]).max() <= 0.51
    assert np.abs(made[:rows, :columns, 1] - 2 * x[None]).max() <= 0.51


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(DetectionError, match="uint8"):
        letterbox(np.zeros((4, 4), np.uint8), (4, 4))
    with pytest.raises(DetectionError, match="uint8"):
        letterbox(np.zeros((4, 4, 3), np.float32), (4, 4))
    with pytest.raises(DetectionError, match="cannot be resized"):
        ratio((0, 4), (4, 4))
