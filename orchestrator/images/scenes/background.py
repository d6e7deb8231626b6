"""What is behind everybody: colours that change slowly, textures."""

from __future__ import annotations

import numpy as np

from orchestrator.images.counter import Floats
from orchestrator.images.scenes.drawing import Array, f4
from orchestrator.images.scenes.layout import BACKGROUND, numbers

_NUMBERS = 700


def background(seed: int, scene: int, size: tuple[int, int], difficulty: float) -> Array:
    """A picture without anything in it: float32 (3, height, width), levels 0 to 1."""
    u = numbers(seed, BACKGROUND, scene, _NUMBERS)
    base = (0.1 + 0.75 * u[:3])[:, None, None]
    picture = np.zeros((3, *size), f4)
    picture += base.astype(f4)
    start = 20
    for cells, strength in ((2, 0.45), (5, 0.22), (11, 0.12)):
        numbers_needed = 3 * cells * cells if cells < 11 else cells * cells
        part = u[start : start + numbers_needed].reshape(-1, cells, cells) - 0.5
        start += numbers_needed
        picture += _smooth(part * strength * min(0.3 + 0.7 * difficulty, 1.5), size)
    _texture(picture, u, difficulty)
    return picture


def _smooth(grid: Floats, size: tuple[int, int]) -> Array:
    """A few numbers (n, cells, cells) as a smooth picture (n, height, width)."""

    def taps(length: int, cells: int) -> Array:
        place = np.linspace(0, cells - 1, length)
        shares: Array = np.clip(1 - np.abs(place[:, None] - np.arange(cells)), 0, 1).astype(f4)
        return shares

    cells = grid.shape[1]
    down, across = taps(size[0], cells), taps(size[1], cells)
    smooth: Array = down @ grid.astype(f4) @ across.T
    return smooth


def _wave(x: Array) -> Array:
    """A triangle wave of period 1, -1 to 1."""
    wave: Array = np.abs((x % f4(1)) * 4 - 2) - 1
    return wave


def _texture(picture: Array, u: Floats, difficulty: float) -> None:
    """Stripes, checks or bricks over all of it, in half of the scenes."""
    kind = int(u[4] * 6)
    if kind > 2:
        return
    _, height, width = picture.shape
    angle, period = float(u[5]) * 3.14, 5 + 45 * float(u[6])
    x, y = np.arange(width, dtype=f4)[None] / f4(period), np.arange(height, dtype=f4)[:, None]
    y = y / f4(period)
    strength = 0.14 * float(u[7]) * min(difficulty, 2)
    if kind == 0:
        pattern = _wave(x * f4(np.cos(angle)) + y * f4(np.sin(angle)))
    elif kind == 1:
        pattern = np.where((np.floor(x) + np.floor(y)) % 2 > 0, f4(1), f4(-1))
    else:
        shifted = x + f4(0.5) * (np.floor(2 * y) % 2)
        mortar = ((shifted % 1) < f4(0.06)) | ((2 * y % 1) < f4(0.12))
        pattern = np.where(mortar, f4(1), f4(-0.3))
    tint = (0.5 + u[8:11]).astype(f4)[:, None, None]
    picture += pattern * tint * f4(strength)
