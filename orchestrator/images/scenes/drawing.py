"""Soft-edged shapes drawn into a picture, and who covers each of its pixels.

A pixel's centre has whole coordinates. Pictures are float32 (3, height, width), levels 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
f4 = np.float32
NOBODY, A_THING = -1, -2


@dataclass(frozen=True)
class Window:
    """Rows `top` to `bottom` and columns `left` to `right` (exclusive) of a picture."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index a picture with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def columns(self) -> Array:
        """x of each column, (1, columns)."""
        return np.arange(self.left, self.right, dtype=f4)[None]

    @property
    def rows(self) -> Array:
        """y of each row, (rows, 1)."""
        return np.arange(self.top, self.bottom, dtype=f4)[:, None]


@dataclass(frozen=True)
class Canvas:
    """What is drawn on.

    Attributes:
        owner: int16 (height, width): the person whose face is seen there, NOBODY or A_THING.
        picture: float32 (3, height, width); None where only the owners are asked for.
    """

    owner: npt.NDArray[np.int16]
    picture: Array | None

    def window(self, x1: float, y1: float, x2: float, y2: float) -> Window | None:
        """The pixels of a rectangle; None where it lies outside the picture."""
        height, width = self.owner.shape
        top, bottom = max(int(y1), 0), min(int(y2) + 2, height)
        left, right = max(int(x1), 0), min(int(x2) + 2, width)
        if top >= bottom or left >= right:
            return None
        return Window(top, bottom, left, right)

    def blend(self, window: Window, alpha: Array, colour: Array) -> None:
        """Lay `colour`, (3, rows, columns) or (3, 1, 1), over a window by `alpha`."""
        assert self.picture is not None
        part = self.picture[(slice(None), *window.slices)]
        part += (colour - part) * alpha


def blank(size: tuple[int, int], *, painted: bool) -> Canvas:
    """An empty canvas of (height, width)."""
    owner = np.full(size, NOBODY, np.int16)
    return Canvas(owner, np.zeros((3, *size), f4) if painted else None)


@dataclass(frozen=True)
class Shape:
    """An ellipse or a rectangle.

    Attributes:
        kind: "ellipse" or "box".
        x, y: its centre.
        a, b: its half sides, pixels.
        angle: radians, from x towards y.
        colour: three levels.
        shade: how much brighter it is at one end than in the middle; of a ball, at its light.
        soft: width of its edge, pixels.
    """

    kind: str
    x: float
    y: float
    a: float
    b: float
    angle: float
    colour: tuple[float, float, float]
    shade: float = 0.0
    soft: float = 1.0


def draw(canvas: Canvas, shape: Shape, *, covers: bool = False) -> None:
    """Draw a shape; one that `covers` hides the faces below it."""
    cos, sin = np.cos(shape.angle), np.sin(shape.angle)
    reach_x = abs(shape.a * cos) + abs(shape.b * sin) + shape.soft
    reach_y = abs(shape.a * sin) + abs(shape.b * cos) + shape.soft
    window = canvas.window(
        shape.x - reach_x, shape.y - reach_y, shape.x + reach_x, shape.y + reach_y
    )
    if window is None or (canvas.picture is None and not covers):
        return
    dx, dy = window.columns - f4(shape.x), window.rows - f4(shape.y)
    along, across = dx * f4(cos) + dy * f4(sin), dy * f4(cos) - dx * f4(sin)
    u, v = along / f4(shape.a), across / f4(shape.b)
    if shape.kind == "ellipse":
        inside = (1 - u * u - v * v) * f4(0.5 * min(shape.a, shape.b))
    else:
        inside = np.minimum(f4(shape.a) - np.abs(along), f4(shape.b) - np.abs(across))
    if covers:
        canvas.owner[window.slices][inside > 0] = A_THING
    if canvas.picture is None:
        return
    alpha = np.clip(inside / f4(shape.soft) + f4(0.5), 0, 1)
    colour = np.asarray(shape.colour, f4)[:, None, None]
    if shape.shade:
        light = u if shape.kind == "box" else 1 - (u + f4(0.35)) ** 2 - (v + f4(0.35)) ** 2
        colour = colour * (1 + f4(shape.shade) * np.clip(light, -1, 1)).astype(f4)
    canvas.blend(window, alpha.astype(f4), colour)


Draw = Callable[[Canvas], None]
"""What draws itself on a canvas."""
