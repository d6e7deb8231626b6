"""A set of rendered scenes: pictures, and the truth of their faces."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import numpy.typing as npt

from orchestrator.detection.truth import Truth, TruthSet
from orchestrator.images.renderer import RENDERER_VERSION
from orchestrator.images.scenes.background import background
from orchestrator.images.scenes.camera import camera_of, photograph
from orchestrator.images.scenes.drawing import Array, Canvas, blank
from orchestrator.images.scenes.heads import Head, draw_person, heads
from orchestrator.images.scenes.layout import people
from orchestrator.images.scenes.things import draw_clutter, draw_cover
from orchestrator.images.scenes.truth import SUBSETS, Seen, truth_of
from orchestrator.specs.scenes import ScenesCalibration, ScenesSet

SCENES_VERSION = 1
"""Raised whenever the same numbers would give another picture or another truth."""


class SceneSet:
    """The scenes of a specification; see `annotated.AnnotatedSet`."""

    def __init__(self, spec: ScenesSet | ScenesCalibration) -> None:
        self._spec = spec
        self._truth: TruthSet | None = None

    def __len__(self) -> int:
        """Number of scenes."""
        return self._spec.images

    @property
    def fingerprint(self) -> str:
        """Hash (hex) of the numbers and of both renderers' versions."""
        facts = self._spec.model_dump(mode="json")
        facts |= {"scenes": SCENES_VERSION, "faces": RENDERER_VERSION}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def image(self, number: int) -> npt.NDArray[np.uint8]:
        """Scene `number` (from 0): uint8 (height, width, 3), RGB.

        Raises:
            IndexError: the set has no such scene.
        """
        return self.scene(number)[0]

    def scene(self, number: int) -> tuple[npt.NDArray[np.uint8], Truth]:
        """A picture with its truth, which costs no more than the picture."""
        scene, spec = self._scene(number), self._spec
        under = background(spec.seed, scene, spec.size, spec.difficulty)
        canvas = _canvas(under)
        draw_clutter(canvas, spec.seed, scene, spec.difficulty)
        truth = self._people(canvas, scene)
        assert canvas.picture is not None
        camera = camera_of(spec.seed, scene, spec.difficulty)
        return photograph(canvas.picture, camera), truth

    @property
    def truth(self) -> TruthSet:
        """Boxes, points and subsets of all scenes; computed at the first call, without painting."""
        if self._truth is None:
            empty = (blank(self._spec.size, painted=False) for _ in range(len(self)))
            images = [self._people(canvas, self._scene(k)) for k, canvas in enumerate(empty)]
            self._truth = TruthSet(tuple(images), SUBSETS)
        return self._truth

    def _scene(self, number: int) -> int:
        if not 0 <= number < len(self):
            raise IndexError(f"scene {number} of {len(self)}")
        return self._spec.first_image + number

    def _people(self, canvas: Canvas, scene: int) -> Truth:
        """Draw everybody, those behind first, and say what is seen of each."""
        spec = self._spec
        found = heads(
            people(spec.seed, scene, spec.size, spec.difficulty), spec.seed, spec.difficulty
        )
        whole = []
        for number, head in enumerate(found):
            whole.append(draw_person(canvas, head, number, spec.difficulty))
            draw_cover(canvas, head, spec.difficulty)
        draw_clutter(canvas, spec.seed, scene, spec.difficulty, front=True)
        seen = _seen(canvas, found, whole, camera_of(spec.seed, scene, spec.difficulty).blur)
        return truth_of(f"scene {scene}", spec.size, found, seen)


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
