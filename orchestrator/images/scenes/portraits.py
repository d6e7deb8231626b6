"""A scene with one person whose identity is given: a photo for detector and recognizer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestrator.images.counter import normal, uniform
from orchestrator.images.scenes.layout import LARGEST, Person
from orchestrator.images.scenes.painting import painted

_PORTRAIT = 106  # the stream of random numbers; those of scenes are 101 to 105
_NUMBERS = 32
_SMALLEST = 0.25  # of the photo's height: somebody who stands before the camera


def portrait(
    seed: int, identity: int, shot: int, size: tuple[int, int], difficulty: float
) -> npt.NDArray[np.uint8]:
    """A photo of one person: uint8 (height, width, 3), RGB.

    Args:
        seed: another seed is another population.
        identity, shot: the renderer's numbers, as of an aligned face.
        size: height, width in pixels.
        difficulty: how much pose, occlusion, blur, light and noise vary; 0 is none.
    """
    person = _person(seed, identity, shot, size, difficulty)
    # Each shot has surroundings of its own.
    scene = 2 * identity + shot
    return painted(seed, scene, size, difficulty, [person])[0]


def _person(
    seed: int, identity: int, shot: int, size: tuple[int, int], difficulty: float
) -> Person:
    height, width = size
    chance = uniform(seed, _PORTRAIT, [identity], [shot], _NUMBERS)[0]
    shake = normal(chance)
    most = min(LARGEST, 0.7 * height, 0.7 * width)
    tall = most * (_SMALLEST * height / most) ** float(chance[0])
    margin = 0.55 * tall
    return Person(
        identity=identity,
        shot=shot,
        x=margin + float(chance[24]) * (width - 2 * margin),
        y=margin + float(chance[25]) * (height - 2 * margin),
        height=tall,
        roll=0.15 * difficulty * float(shake[1]),
        chance=chance[:24],
        shake=shake[:24],
    )
