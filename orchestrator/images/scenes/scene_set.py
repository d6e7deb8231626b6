"""A set of rendered scenes: pictures, and the truth of their faces."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import numpy.typing as npt

from orchestrator.detection.truth import Truth, TruthSet
from orchestrator.images.rendered import RENDERER_VERSION
from orchestrator.images.scenes.drawing import Canvas, blank
from orchestrator.images.scenes.layout import Person, people
from orchestrator.images.scenes.painting import drawn, painted
from orchestrator.images.scenes.truth import SUBSETS
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
        return painted(spec.seed, scene, spec.size, spec.difficulty, self._people(scene))

    @property
    def truth(self) -> TruthSet:
        """Boxes, points and subsets of all scenes; computed at the first call, without painting."""
        if self._truth is None:
            empty = (blank(self._spec.size, painted=False) for _ in range(len(self)))
            images = [self._unpainted(canvas, self._scene(k)) for k, canvas in enumerate(empty)]
            self._truth = TruthSet(tuple(images), SUBSETS)
        return self._truth

    def _scene(self, number: int) -> int:
        if not 0 <= number < len(self):
            raise IndexError(f"scene {number} of {len(self)}")
        return self._spec.first_image + number

    def _people(self, scene: int) -> list[Person]:
        spec = self._spec
        return people(spec.seed, scene, spec.size, spec.difficulty)

    def _unpainted(self, canvas: Canvas, scene: int) -> Truth:
        return drawn(canvas, self._spec.seed, scene, self._spec.difficulty, self._people(scene))
