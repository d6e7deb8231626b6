"""What the tests of plans share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from orchestrator.detection.truth import Truth
from orchestrator.images.scenes import scene_set
from orchestrator.images.scenes.layout import Person
from orchestrator.images.scenes.painting import painted
from orchestrator.preflight import model


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is brought into its normal form by two images: rendering them takes longest."""
    monkeypatch.setattr(model, "IMAGES", 2)


_PAINTED: dict[object, tuple[npt.NDArray[np.uint8], Truth]] = {}


@pytest.fixture(autouse=True)
def scenes_are_painted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans look at the first scenes of the same few sets: painting them takes longest."""

    def remembered(
        seed: int, scene: int, size: tuple[int, int], difficulty: float, people: list[Person]
    ) -> tuple[npt.NDArray[np.uint8], Truth]:
        key = (seed, scene, size, difficulty)  # which decide the people, too
        if key not in _PAINTED:
            _PAINTED[key] = painted(seed, scene, size, difficulty, people)
        picture, truth = _PAINTED[key]
        return picture.copy(), truth

    monkeypatch.setattr(scene_set, "painted", remembered)
