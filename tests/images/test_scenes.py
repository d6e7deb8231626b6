"""Rendered scenes: the same numbers, the same picture; boxes and points where the faces are."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from orchestrator.images.scenes import SceneSet
from orchestrator.images.scenes.layout import LARGEST, MOST
from orchestrator.specs.scenes import ScenesSet

SPEC = ScenesSet(images=40)


@pytest.fixture(scope="module")
def scenes() -> SceneSet:
    return SceneSet(SPEC)


def test_a_scene_depends_on_its_number_alone(scenes: SceneSet) -> None:
    picture, truth = scenes.scene(7)
    assert picture.dtype == np.uint8
    assert picture.shape == (240, 320, 3)
    later = SceneSet(ScenesSet(images=3, first_image=5))
    np.testing.assert_array_equal(later.image(2), picture)
    copy = pickle.loads(pickle.dumps(scenes))
    np.testing.assert_array_equal(copy.image(7), picture)
    # The truth is computed without painting, and is the painted picture's all the same.
    alone = scenes.truth.images[7]
    np.testing.assert_array_equal(truth.boxes, alone.boxes)
    np.testing.assert_array_equal(truth.points, alone.points)
    np.testing.assert_array_equal(truth.ignored, alone.ignored)
    with pytest.raises(IndexError, match="scene 40 of 40"):
        scenes.image(40)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"size": (240, 321)}, {"difficulty": 0.9}, {"images": 41}]
)
def test_every_number_changes_the_fingerprint(scenes: SceneSet, change: dict) -> None:
    other = SceneSet(SPEC.model_copy(update=change))
    assert other.fingerprint != scenes.fingerprint
    assert SceneSet(SPEC).fingerprint == scenes.fingerprint


def test_boxes_points_and_subsets(scenes: SceneSet) -> None:
    counts = [len(image) for image in scenes.truth.images]
    assert max(counts) <= MOST
    assert {0, 1} <= set(counts)
    for image in scenes.truth.images:
        assert (image.boxes >= 0).all()
        assert (image.boxes[:, 2:] <= [319, 239]).all()
        assert (image.boxes[:, 3] - image.boxes[:, 1] <= 1.2 * LARGEST).all()
        easy, medium, hard = (image.subsets[name] for name in ("easy", "medium", "hard"))
        assert not (easy & ~medium).any()
        assert not (medium & ~hard).any()
        np.testing.assert_array_equal(image.ignored, ~hard)
        known = np.isfinite(image.points).all((1, 2)) & hard
        middle = image.points[known].mean(1)
        assert (middle > image.boxes[known, :2]).all()
        assert (middle < image.boxes[known, 2:]).all()


@pytest.mark.slow
def test_the_points_are_on_the_features() -> None:
    """Without difficulty nothing covers a face: eyes are darker than the skin between them."""
    plain = SceneSet(ScenesSet(images=30, difficulty=0.0))
    darker = []
    for number in range(len(plain)):
        truth = plain.truth.images[number]
        tall = truth.boxes[:, 3] - truth.boxes[:, 1]
        if not (tall > 60).any():
            continue
        grey = plain.image(number).mean(2)
        for points in truth.points[(tall > 60) & np.isfinite(truth.points).all((1, 2))]:
            eyes = [grey[int(y), int(x)] for x, y in points[:2]]
            x, y = points[:2].mean(0)
            darker.append(max(eyes) < grey[int(y), int(x)])
    assert len(darker) >= 8
    assert np.mean(darker) > 0.8  # some wear sunglasses, some have their eyes closed
