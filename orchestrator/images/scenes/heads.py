"""Heads in a scene: where each face's outline, points and hair are, and their colours.

The outline, hairline and light are the aligned renderer's (`renderer._surround`), evaluated at the
scene's own pixels, so that truth and picture come from the same formulas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from orchestrator.images.counter import Floats
from orchestrator.images.face import Faces, shape_faces
from orchestrator.images.renderer import light_mix, light_patterns, paint_blobs
from orchestrator.images.scenes.drawing import A_THING, Array, Canvas, Shape, Window, draw, f4
from orchestrator.images.scenes.layout import Person

_HEAD_Y = 66  # of the renderer: the head's middle, from which its chin and hairline are measured
_ABOVE = 69.4  # from there to the top of the head
_FINEST = 1.3  # pixels a unit of the aligned image: it has nothing finer
_CONTOUR = 96


@dataclass(frozen=True)
class Head:
    """One face, placed. Lengths are units of the aligned 112 x 112 image unless said otherwise.

    Attributes:
        face: the renderer's, a batch of one.
        person: where it is placed.
        x, y: the head's middle.
        down: from there to the chin.
        widest: half the head's width.
        power: how square the jaw is.
        line, middle, bend: the hairline's height, its middle and its curve.
        long_hair: whether hair falls beside the face.
        anchor: the middle of the face, which stands at the person's place.
        unit: pixels of the scene per unit.
    """

    face: Faces
    person: Person
    x: float
    y: float
    down: float
    widest: float
    power: float
    line: float
    middle: float
    bend: float
    long_hair: bool
    anchor: tuple[float, float]
    unit: float

    def to_scene(self, x: Floats, y: Floats) -> Floats:
        """Places of the aligned image in the scene: float64 (n, 2), pixels."""
        cos, sin = np.cos(self.person.roll), np.sin(self.person.roll)
        dx, dy = (x - self.anchor[0]) * self.unit, (y - self.anchor[1]) * self.unit
        placed = [self.person.x + dx * cos - dy * sin, self.person.y + dx * sin + dy * cos]
        return np.stack(placed, -1)

    def to_aligned(self, window: Window) -> tuple[Array, Array]:
        """x and y of the aligned image at each pixel of a window, float32 (rows, columns)."""
        cos, sin = np.cos(self.person.roll) / self.unit, np.sin(self.person.roll) / self.unit
        dx, dy = window.columns - f4(self.person.x), window.rows - f4(self.person.y)
        x = dx * f4(cos) + dy * f4(sin) + f4(self.anchor[0])
        y = dy * f4(cos) - dx * f4(sin) + f4(self.anchor[1])
        return x, y

    def hair_line(self, x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """y of the hairline above each x."""
        return f4(self.line) + f4(0.010 * self.bend) * (x - f4(self.x - 6 * self.middle)) ** 2

    def outline(
        self, x: npt.NDArray[np.floating], y: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.floating]:
        """Above 0 within the head, below 0 outside; about units of length near the outline."""
        t = (y - f4(self.y)) / f4(self.down)
        low = np.clip(t, 0, 1.3) ** f4(self.power)
        high = np.minimum(t * f4(self.down / _ABOVE), 0) ** 2
        across = (x - f4(self.x)) / f4(self.widest)
        inside: npt.NDArray[np.floating] = 1 - low - high - across * across
        return inside * f4(0.5 * self.widest)

    def contour(self) -> Floats:
        """Points around the face, below the hairline: (n, 2), pixels of the scene."""
        y = np.linspace(self.y - _ABOVE, self.y + self.down, 2 * _CONTOUR)
        t = (y - self.y) / self.down
        low = np.clip(t, 0, 1) ** self.power
        high = np.minimum(t * self.down / _ABOVE, 0) ** 2
        half = self.widest * np.sqrt(np.clip(1 - low - high, 0, 1))
        across = self.x + self.widest * np.linspace(-1, 1, _CONTOUR)
        top = self.hair_line(across)
        x = np.concatenate([self.x - half, self.x + half, across])
        y = np.concatenate([y, y, top])
        seen = (y >= self.hair_line(x) - 1e-9) & (self.outline(x, y) >= -0.01)
        return self.to_scene(x[seen], y[seen])

    def points(self) -> Floats:
        """The five landmarks, (5, 2), pixels of the scene."""
        marks = self.face.landmarks[0]
        return self.to_scene(marks.real, marks.imag)


def heads(people: list[Person], seed: int, difficulty: float) -> list[Head]:
    """The people's heads, in order."""
    if not people:
        return []
    ids = np.array([person.identity for person in people])
    shots = np.array([person.shot for person in people])
    faces = shape_faces(ids, shots, seed, difficulty)
    return [_head(faces.part(k, k + 1), person) for k, person in enumerate(people)]


def _head(face: Faces, person: Person) -> Head:
    scale = float(face.scale[0])
    x, y = float(face.centre[0].real), float(face.centre[0].imag)
    down = scale * (float(face.chin[0]) - _HEAD_Y)
    # A hairline above the crown or below the eyes is none.
    line = y + scale * float(np.clip(face.hairline[0] - _HEAD_Y, -64, -38))
    return Head(
        face=face,
        person=person,
        x=x,
        y=y,
        down=down,
        widest=scale * float(face.half_width[0]) * (1 - 0.10 * abs(float(np.sin(face.yaw[0])))),
        power=float(np.clip(2.7 + 0.35 * face.jaw[0], 1.7, 4)),
        line=line,
        middle=float(face.identity[0, 46]),
        bend=max(1 + 0.3 * float(face.identity[0, 45]), 0.1),
        long_hair=bool(face.long_hair[0]),
        anchor=(x, (line + y + down) / 2),
        unit=person.height / (y + down - line),
    )


def draw_person(canvas: Canvas, head: Head, number: int, difficulty: float) -> int:
    """Draw a person's body and head; the face's pixels become `number`'s.

    Returns:
        How many pixels the face has, those outside the picture included.
    """
    _draw_body(canvas, head)
    whole = head.to_scene(
        head.x + head.widest * np.array([-1.3, 1.3, 1.3, -1.3]),
        head.y + np.array([-78.0, -78.0, head.down + 12, head.down + 12]),
    )
    (x1, y1), (x2, y2) = whole.min(0), whole.max(0)
    beyond = Window(int(y1) - 1, int(y2) + 2, int(x1) - 1, int(x2) + 2)
    pixels = int(_face_mask(head, beyond)[0].sum())
    window = canvas.window(x1, y1, x2, y2)
    if window is None:
        return pixels
    face, x, y, inside = _face_mask(head, window)
    hair, below = _hair(head, x, y)
    owner = canvas.owner[window.slices]
    owner[(hair > 0) | (inside > 0)] = A_THING
    owner[face] = number
    if canvas.picture is not None:
        soft = f4(max(head.unit, 1e-6))
        share_face = np.clip(inside * soft + f4(0.5), 0, 1)
        share_hair = np.clip(hair * soft + f4(0.5), 0, 1)
        light = _light_at(head, x, y, difficulty)
        shade = head.face.hair[0].astype(f4)[:, None, None]
        strands = 1 + f4(0.12) * np.sin(x * f4(0.9) + y * f4(0.15))
        hair_colour = shade * (f4(0.75) + f4(0.35) * light) * strands
        canvas.blend(window, share_hair, hair_colour)
        skin = _skin(head, x, y, difficulty)
        over = np.clip(below * soft + f4(0.5), 0, 1)
        skin += (hair_colour - skin) * (1 - over)
        canvas.blend(window, share_face, skin)
    return pixels


def _face_mask(
    head: Head, window: Window
) -> tuple[npt.NDArray[np.bool_], Array, Array, npt.NDArray[np.floating]]:
    x, y = head.to_aligned(window)
    inside = head.outline(x, y)
    return (inside > 0) & (y >= head.hair_line(x)), x, y, inside


def _hair(head: Head, x: Array, y: Array) -> tuple[Array, Array]:
    """(above 0 where hair is around the head, above 0 below the hairline), in units."""
    t = np.minimum((y - f4(head.y)) / f4(_ABOVE + 7), 0)
    wide = f4(head.widest + (6 if head.long_hair else 3))
    across = (x - f4(head.x)) / wide
    around = (1 - t * t - across * across) * f4(0.5) * wide
    end = head.y + (head.down * 0.95 if head.long_hair else -12.0)
    return np.minimum(around, f4(end) - y), (y - head.hair_line(x)).astype(f4)


def _light_at(head: Head, x: Array, y: Array, difficulty: float) -> Array:
    """A coarse light for hair and outline: the first three of the eight patterns."""
    mix = light_mix(head.face, difficulty)[0]
    light = mix[0] + mix[1] * (x - 56) / f4(50) + mix[2] * (y - 62) / f4(66) + f4(0.25)
    lit: Array = np.clip(light, f4(0.3), f4(1.4))
    return lit


def _skin(head: Head, x: Array, y: Array, difficulty: float) -> Array:
    """The lit face at each pixel, float32 (3, rows, columns): painted upright, then turned."""
    step = 1 / min(head.unit, _FINEST)
    columns = np.arange(-4, 116 + step, step, dtype=np.float64).astype(f4)
    rows = np.arange(-10, 128 + step, step, dtype=np.float64).astype(f4)
    picture = paint_blobs(_softened(head.face, 0.5 * step), columns, rows)[0]
    grid_y, grid_x = np.broadcast_arrays(rows[:, None], columns[None])
    light = light_mix(head.face, difficulty) @ light_patterns(grid_x, grid_y)
    picture *= np.clip(light, 0.08, 1.8).reshape(1, len(rows), len(columns))
    return _bilinear(picture, (x - f4(-4)) / f4(step), (y - f4(-10)) / f4(step))


def _softened(face: Faces, more: float) -> Faces:
    """The same face with every blob as wide as a coarse picture can show."""
    width, height = np.sqrt(face.width**2 + more**2), np.sqrt(face.height**2 + more**2)
    share = face.width * face.height / (width * height)
    return replace(face, width=width, height=height, colour=face.colour * share[:, None])


def _bilinear(picture: Array, x: Array, y: Array) -> Array:
    """`picture` (3, h, w) at places (rows, columns), the edge repeated."""
    _, height, width = picture.shape
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    right, down = x - left, y - top
    flat, place = picture.reshape(3, -1), top * width + left
    upper = flat[:, place]
    upper += (flat[:, place + 1] - upper) * right
    lower = flat[:, place + width]
    lower += (flat[:, place + width + 1] - lower) * right
    upper += (lower - upper) * down
    return upper


def _draw_body(canvas: Canvas, head: Head) -> None:
    person, unit = head.person, head.unit
    if person.chance[8] < 0.2:
        return
    skin = (head.face.skin[0] * 0.62).tolist()
    red, green, blue = (0.08 + 0.8 * person.chance[9:12]).tolist()
    lean = 0.4 * person.roll
    chin = head.to_scene(np.array([head.x]), np.array([head.y + head.down]))[0]
    for kind, below, a, b, colour in (
        ("box", 4.0, 20.0, 24.0, (skin[0], skin[1], skin[2])),
        ("ellipse", 92.0, 88.0, 74.0, (red, green, blue)),
    ):
        draw(
            canvas,
            Shape(
                kind,
                float(chin[0] - below * unit * np.sin(lean)),
                float(chin[1] + below * unit * np.cos(lean)),
                a * unit,
                b * unit,
                lean,
                colour,
                shade=0.15,
            ),
            covers=True,
        )
