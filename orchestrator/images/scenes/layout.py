"""Who and what stands where in a scene: a function of (seed, scene number) only.

Lengths are pixels of the scene. The constants are drawn by eye, as the faces' are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestrator.images.counter import Floats, normal, uniform

LARGEST, SMALLEST = 200.0, 12.0  # a face's height, pixels
MOST = 20
_RANGE = 1_000_000  # numbers of one purpose: tests, training, calibration
_PERSON_NUMBERS, _CANDIDATES = 24, 10

# Streams of random numbers; the faces' own are 1 to 9.
PEOPLE, COUNT, BACKGROUND, CLUTTER, CAMERA = 101, 102, 103, 104, 105


@dataclass(frozen=True)
class Person:
    """A face to be drawn.

    Attributes:
        identity, shot: the renderer's numbers.
        x, y: where the middle of the face stands.
        height: from hairline to chin along the face, pixels.
        roll: radians, clockwise.
        chance, shake: (24,) uniform and normal numbers for everything else.
    """

    identity: int
    shot: int
    x: float
    y: float
    height: float
    roll: float
    chance: Floats
    shake: Floats


def numbers(seed: int, stream: int, scene: int, count: int) -> Floats:
    """`count` uniform numbers of a scene for one purpose."""
    found: Floats = uniform(seed, stream, [scene], [0], count)[0]
    return found


def _count(chance: float, within: float) -> int:
    """How many people: most scenes have few, some a crowd, some none."""
    for share, low, high in ((0.06, 0, 0), (0.24, 1, 1), (0.60, 2, 4), (0.85, 5, 9)):
        if chance < share:
            return low + int(within * (high - low + 1))
    return 10 + int(within * (MOST - 9))


def people(seed: int, scene: int, size: tuple[int, int], difficulty: float) -> list[Person]:
    """The people of a scene, those behind first.

    A candidate place is taken when the faces that are there already lose no more than a share that
    grows with `difficulty`; who finds no place is left out, so a scene may have fewer people than
    were drawn.
    """
    height, width = size
    first = numbers(seed, COUNT, scene, 4)
    count = _count(float(first[0]), float(first[1]))
    if not count:
        return []
    each = uniform(
        seed, PEOPLE, np.full(count, scene), np.arange(count), _PERSON_NUMBERS + 2 * _CANDIDATES
    )
    most = min(LARGEST, 0.83 * height, 1.15 * float(np.sqrt(height * width / count)))
    tall = SMALLEST * (max(most, SMALLEST) / SMALLEST) ** each[:, 0]
    placed: list[Person] = []
    for k in np.argsort(-tall, kind="stable").tolist():
        person = _placed(each[k], float(tall[k]), scene, size, difficulty, placed)
        if person is not None:
            placed.append(person)
    return placed[::-1]


def _placed(
    chance: Floats,
    tall: float,
    scene: int,
    size: tuple[int, int],
    difficulty: float,
    others: list[Person],
) -> Person | None:
    height, width = size
    shake = normal(chance[:_PERSON_NUMBERS])
    roll = 0.22 * difficulty * float(shake[1])
    if chance[2] < 0.05 * difficulty:
        roll = float(chance[3] - 0.5) * 2.2
    allowed = 0.28 * min(difficulty, 2.0) * float(chance[4])
    margin = 0.42 * tall
    for k in range(_CANDIDATES):
        u, v = chance[_PERSON_NUMBERS + 2 * k : _PERSON_NUMBERS + 2 * k + 2].tolist()
        x, y = margin + u * (width - 2 * margin), margin + v * (height - 2 * margin)
        if all(_shared(x, y, tall, other) <= allowed for other in others):
            break
    else:
        return None
    base = scene // _RANGE * _RANGE
    return Person(
        identity=base + int(chance[5] * _RANGE),
        shot=2 + int(chance[6] * 1000),
        x=x,
        y=y,
        height=tall,
        roll=roll,
        chance=chance[:_PERSON_NUMBERS],
        shake=shake,
    )


def _shared(x: float, y: float, tall: float, other: Person) -> float:
    """The share of the smaller head that lies under the other, heads taken as squares."""
    mine, theirs = 0.6 * tall, 0.6 * other.height
    across = min(x + mine, other.x + theirs) - max(x - mine, other.x - theirs)
    down = min(y + mine, other.y + theirs) - max(y - mine, other.y - theirs)
    if across <= 0 or down <= 0:
        return 0.0
    return across * down / (4 * min(mine, theirs) ** 2)
