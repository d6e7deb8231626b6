"""People painted into a scene's surroundings, and what is seen of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestrator.detection.truth import Truth
from orchestrator.images.scenes.background import background
from orchestrator.images.scenes.camera import camera_of, photograph
from orchestrator.images.scenes.drawing import Array, Canvas, blank
from orchestrator.images.scenes.heads import Head, draw_person, heads
from orchestrator.images.scenes.layout import Person
from orchestrator.images.scenes.things import draw_clutter, draw_cover
from orchestrator.images.scenes.truth import Seen, truth_of


def painted(
    seed: int, scene: int, size: tuple[int, int], difficulty: float, people: list[Person]
) -> tuple[npt.NDArray[np.uint8], Truth]:
    """A picture, uint8 (height, width, 3), RGB, with its truth.

    Args:
        seed, scene: decide the surroundings and the camera.
        size: height, width in pixels.
        difficulty: how much everything varies; 0 is nothing.
        people: those behind first.
    """
    canvas = _canvas(background(seed, scene, size, difficulty))
    draw_clutter(canvas, seed, scene, difficulty)
    truth = drawn(canvas, seed, scene, difficulty, people)
    assert canvas.picture is not None
    return photograph(canvas.picture, camera_of(seed, scene, difficulty)), truth


def drawn(canvas: Canvas, seed: int, scene: int, difficulty: float, people: list[Person]) -> Truth:
    """Draw everybody, those behind first, and say what is seen of each."""
    height, width = canvas.owner.shape
    found = heads(people, seed, difficulty)
    whole = []
    for number, head in enumerate(found):
        whole.append(draw_person(canvas, head, number, difficulty))
        draw_cover(canvas, head, difficulty)
    draw_clutter(canvas, seed, scene, difficulty, front=True)
    seen = _seen(canvas, found, whole, camera_of(seed, scene, difficulty).blur)
    return truth_of(f"scene {scene}", (height, width), found, seen)


def _canvas(picture: Array) -> Canvas:
    height, width = picture.shape[1:]
    return Canvas(blank((height, width), painted=False).owner, picture)


def _seen(canvas: Canvas, found: list[Head], whole: list[int], defocus: float) -> list[Seen]:
    counts = np.bincount(canvas.owner[canvas.owner >= 0].ravel(), minlength=len(found)).tolist()
    return [
        Seen(
            share=counts[k] / max(whole[k], 1),
            blur=float(np.hypot(head.face.blur[0] * head.unit, defocus)) / head.person.height,
        )
        for k, head in enumerate(found)
    ]
