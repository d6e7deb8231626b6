"""What is no face: shapes behind people, things that look like faces, what covers people."""

from __future__ import annotations

from orchestrator.images.counter import Floats, uniform
from orchestrator.images.scenes.drawing import Canvas, Shape, draw
from orchestrator.images.scenes.heads import Head
from orchestrator.images.scenes.layout import CLUTTER, numbers

Colour = tuple[float, float, float]
_NUMBERS = 16
_SKIN = ((0.74, 0.55, 0.44), (0.62, 0.44, 0.34), (0.45, 0.31, 0.23), (0.82, 0.66, 0.56))


def draw_clutter(
    canvas: Canvas, seed: int, scene: int, difficulty: float, *, front: bool = False
) -> None:
    """Shapes and distractors behind everybody, or the few in front of everybody.

    Args:
        canvas: what to draw on.
        seed: of the scene.
        scene: its number.
        difficulty: how many there are.
        front: those in front, which hide faces.
    """
    how_many = numbers(seed, CLUTTER, scene, 4)
    shapes = int((4 + 16 * how_many[0]) * min(0.4 + 0.6 * difficulty, 2))
    alike = int(how_many[1] ** 2 * 8 * min(difficulty, 2))
    before = int(how_many[2] ** 3 * 4 * min(difficulty, 2))
    height, width = canvas.owner.shape
    first, count = (500, before) if front else (0, shapes + alike)
    if not count:
        return
    chances = uniform(seed, CLUTTER, [scene] * count, range(first + 1, first + count + 1), _NUMBERS)
    for k, u in enumerate(chances):
        x, y = float(u[0]) * width, float(u[1]) * height
        size = 5 * (min(height, width) * 0.09) ** float(u[2])
        if front or k < shapes:
            _plain(canvas, u, x, y, size * (0.6 if front else 1), covers=front)
        else:
            ALIKE[int(u[3] * len(ALIKE))](canvas, u, x, y, size)


def draw_cover(canvas: Canvas, head: Head, difficulty: float) -> None:
    """What covers one face: a hand, a bar, a book, a ball or a mask, on some faces only."""
    person, u = head.person, head.person.chance
    if u[12] >= 0.24 * difficulty:
        return
    tall = person.height
    kind = int(u[13] * 5)
    angle = float(u[14]) * 3.14
    side = (float(u[15]) - 0.5, float(u[16]) - 0.5)
    x, y = person.x + 1.1 * tall * side[0], person.y + 1.1 * tall * side[1]
    reach = tall * (0.16 + 0.22 * float(u[17]))
    colour = _colour(u[18:21])
    if kind == 0:
        draw_hand(canvas, x, y, 1.4 * reach, angle, _skin(u[18]), covers=True)
    elif kind == 1:
        bar = Shape("box", x, y, 2 * tall, 0.35 * reach + 1, angle, colour, 0.2)
        draw(canvas, bar, covers=True)
    elif kind == 2:
        book = Shape("box", x, y, 1.2 * reach, reach, 0.2 * angle, colour, 0.3)
        draw(canvas, book, covers=True)
    elif kind == 3:
        draw(canvas, Shape("ellipse", x, y, reach, reach, 0, colour, 0.4), covers=True)
    else:
        mask_x, mask_y = head.points()[2:].mean(0).tolist()
        pale = (0.5 + 0.45 * u[18:21]).tolist()
        draw(
            canvas,
            Shape(
                "ellipse",
                mask_x,
                mask_y + 0.06 * tall,
                0.36 * tall,
                0.27 * tall,
                person.roll,
                (pale[0], pale[1], pale[2]),
                0.15,
            ),
            covers=True,
        )


def draw_hand(
    canvas: Canvas, x: float, y: float, size: float, angle: float, colour: Colour, covers: bool
) -> None:
    """A palm and four fingers."""
    from math import cos, sin

    draw(canvas, Shape("ellipse", x, y, size, 0.8 * size, angle, colour, 0.25), covers=covers)
    for k in range(4):
        spread = (k - 1.5) * 0.38
        turned = angle + 0.35 * spread
        along, across = 1.35 * size, spread * size
        finger_x = x + along * cos(angle) - across * sin(angle)
        finger_y = y + along * sin(angle) + across * cos(angle)
        finger = Shape("ellipse", finger_x, finger_y, 0.8 * size, 0.18 * size, turned, colour, 0.2)
        draw(canvas, finger, covers=covers)


def _colour(u: Floats) -> Colour:
    red, green, blue = (0.05 + 0.9 * u).tolist()
    return red, green, blue


def _skin(chance: float) -> Colour:
    return _SKIN[int(chance * len(_SKIN))]


def _plain(canvas: Canvas, u: Floats, x: float, y: float, size: float, covers: bool) -> None:
    kind = "ellipse" if u[4] < 0.4 else "box"
    long = 1 + 4 * float(u[5]) ** 3
    shape = Shape(
        kind,
        x,
        y,
        size * long,
        size,
        float(u[6]) * 3.14 if u[7] < 0.5 else 0.0,
        _colour(u[8:11]),
        float(u[11] - 0.5),
        1 + 3 * float(u[12]) ** 4,
    )
    draw(canvas, shape, covers=covers)


def _ball(canvas: Canvas, u: Floats, x: float, y: float, size: float) -> None:
    draw(canvas, Shape("ellipse", x, y, size, size, 0, _colour(u[8:11]), 0.5))


def _skin_oval(canvas: Canvas, u: Floats, x: float, y: float, size: float) -> None:
    hair = _colour(0.35 * u[8:11])
    draw(canvas, Shape("ellipse", x, y - 0.2 * size, 1.1 * size, 1.3 * size, 0, hair))
    angle = float(u[6] - 0.5)
    draw(canvas, Shape("ellipse", x, y, 0.85 * size, 1.15 * size, angle, _skin(u[7]), 0.3))


def _hand(canvas: Canvas, u: Floats, x: float, y: float, size: float) -> None:
    draw_hand(canvas, x, y, 0.6 * size, float(u[6]) * 6.28, _skin(u[7]), covers=False)


def _plate(canvas: Canvas, u: Floats, x: float, y: float, size: float) -> None:
    """A plate with two dark holes: eyes without a face."""
    colour = _colour(u[8:11])
    kind = "box" if u[7] < 0.5 else "ellipse"
    draw(canvas, Shape(kind, x, y, size, size, 0, colour, 0.2))
    for side in (-1, 1):
        hole = Shape("ellipse", x + side * 0.35 * size, y, 0.14 * size, 0.14 * size, 0, (0, 0, 0))
        draw(canvas, hole)


def _clock(canvas: Canvas, u: Floats, x: float, y: float, size: float) -> None:
    draw(canvas, Shape("ellipse", x, y, size, size, 0, _colour(u[8:11])))
    draw(canvas, Shape("ellipse", x, y, 0.85 * size, 0.85 * size, 0, (0.9, 0.88, 0.84)))
    for turn, long in ((6.28 * float(u[6]), 0.7), (6.28 * float(u[7]), 0.45)):
        draw(canvas, Shape("box", x, y, long * size, 0.05 * size, turn, (0.1, 0.1, 0.1)))


ALIKE = (_ball, _skin_oval, _hand, _plate, _clock)
