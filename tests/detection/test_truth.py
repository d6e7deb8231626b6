"""Boxes, truth and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.detection.boxes import Detections, overlaps
from orchestrator.detection.errors import DetectionError
from orchestrator.detection.truth import Truth, TruthSet


def truth(name: str, boxes: list[list[float]], size: tuple[int, int] = (240, 320)) -> Truth:
    count = len(boxes)
    return Truth(
        name=name,
        size=size,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        points=np.full((count, 5, 2), np.nan, np.float32),
        ignored=np.arange(count) % 2 == 1,
        subsets={"easy": np.arange(count) == 0, "hard": np.ones(count, bool)},
    )


def test_a_stored_truth_is_read_back(tmp_path: Path) -> None:
    images = (
        truth("a/ö 1.jpg", [[1, 2, 30, 40], [5, 5, 9, 9.5]]),
        truth("b.jpg", []),
        truth("c.jpg", [[-3, 10, 20, 250]], (480, 640)),
    )
    stored = TruthSet(images, ("easy", "hard"))
    stored.save(tmp_path / "truth.npz")
    found = TruthSet.load(tmp_path / "truth.npz")
    assert found.subsets == ("easy", "hard")
    assert [i.name for i in found.images] == ["a/ö 1.jpg", "b.jpg", "c.jpg"]
    assert [i.size for i in found.images] == [(240, 320), (240, 320), (480, 640)]
    for before, after in zip(images, found.images, strict=True):
        for field in ("boxes", "points", "ignored"):
            np.testing.assert_array_equal(getattr(before, field), getattr(after, field))
            assert getattr(before, field).dtype == getattr(after, field).dtype
        for name in stored.subsets:
            np.testing.assert_array_equal(before.subsets[name], after.subsets[name])


def test_an_empty_set_is_read_back(tmp_path: Path) -> None:
    TruthSet((), ("all",)).save(tmp_path / "truth.npz")
    assert len(TruthSet.load(tmp_path / "truth.npz")) == 0


def test_another_file_is_no_truth(tmp_path: Path) -> None:
    path = tmp_path / "truth.npz"
    for content in (b"", b"no archive at all"):
        path.write_bytes(content)
        with pytest.raises(DetectionError, match="not a stored truth"):
            TruthSet.load(path)
    np.savez(path, names=np.array(["a"]))
    with pytest.raises(DetectionError, match="not a stored truth"):
        TruthSet.load(path)


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ([320, 0, 330, 10], "lies outside the image of 320 x 240"),
        ([0, -9, 10, 0], "lies outside"),
        ([5, 5, 5, 9], "has no area"),
        ([9, 5, 5, 9], "has no area"),
        ([float("nan"), 5, 5, 9], "no finite corners"),
    ],
)
def test_a_box_that_is_no_face_is_refused(box: list[float], problem: str) -> None:
    with pytest.raises(DetectionError, match=rf"x\.jpg: face 1: .*{problem}"):
        truth("x.jpg", [box])
    # Ignored boxes may be anything: WIDER FACE marks such boxes as invalid.
    assert len(truth("x.jpg", [[0, 0, 9, 9], box])) == 2


def test_shapes_are_checked() -> None:
    with pytest.raises(DetectionError, match=r"points of shape \(1, 5, 2\), not \(1, 4, 2\)"):
        Detections(
            np.zeros((1, 4), np.float32), np.zeros(1, np.float32), np.zeros((1, 4, 2), np.float32)
        )
    with pytest.raises(DetectionError, match=r"boxes of shape \(2, 4\)"):
        Detections(np.zeros((1, 4), np.float32), np.zeros(2, np.float32))
    with pytest.raises(DetectionError, match="subsets"):
        TruthSet((truth("a", []),), ("all",))


def test_overlap_has_known_values() -> None:
    a = np.array([[0, 0, 10, 10]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [30, 30, 40, 40]], np.float32)
    np.testing.assert_allclose(overlaps(a, b, inclusive=False), [[1, 50 / 150, 0, 0]])
    np.testing.assert_allclose(overlaps(a, b, inclusive=True), [[1, 66 / 176, 0, 0]])
    assert overlaps(a[:0], b, inclusive=True).shape == (0, 4)
