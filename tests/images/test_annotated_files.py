"""WIDER FACE's text and COCO's JSON, right and wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.errors import UserError
from orchestrator.images.annotated_files import read_coco, read_widerface

TEXT = """\
0--Parade/a.jpg
2
10 20 30 40 0 0 0 0 0 0
5 5 0 9 0 0 0 0 0 0
0--Parade/b.png
0
0 0 0 0 0 0 0 0 0 0
1--Fair/c.png
1
-4 60 50 40 0 0 0 1 0 0
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name, size in (
        ("0--Parade/a.jpg", (100, 80)),
        ("0--Parade/b.png", (64, 48)),
        ("1--Fair/c.png", (90, 90)),
    ):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (200, 30, 30)).save(path)
    return tmp_path / "images"


def written(images: Path, text: str, name: str = "truth.txt") -> Path:
    path = images.parent / name
    path.write_text(text)
    return path


def lists_of(images: Path, faces: dict[str, list[list[int]]]) -> dict[str, Path]:
    """The evaluation's lists, in the shape of its .mat files."""
    from scipy.io import savemat

    def column(values: list) -> np.ndarray:
        cells = np.empty((len(values), 1), object)
        for number, value in enumerate(values):
            cells[number, 0] = value
        return cells

    found = {}
    for subset, (a, b, c) in faces.items():
        found[subset] = images.parent / f"wider_{subset}_val.mat"
        numbers = [np.array(each, np.uint8).reshape(-1, 1) for each in (a, b, c)]
        savemat(
            found[subset],
            {
                "event_list": column(["0--Parade", "1--Fair"]),
                "file_list": column([column(["a", "b"]), column(["c"])]),
                "gt_list": column([column(numbers[:2]), column(numbers[2:])]),
            },
        )
    return found


def test_widerface(images: Path) -> None:
    found = read_widerface(images, written(images, TEXT))
    assert len(found) == 3
    first, second, third = found.truth.images
    assert first.size == (80, 100)
    np.testing.assert_array_equal(first.boxes, [[10, 20, 40, 60], [5, 5, 5, 14]])
    assert first.ignored.tolist() == [False, True]  # the second has no area
    assert len(second) == 0
    assert third.ignored.tolist() == [True]  # its annotators said that it is invalid
    assert found.truth.subsets == ("all",)
    assert found.image(0).shape == (80, 100, 3)


def test_widerfaces_lists(images: Path) -> None:
    faces = {"easy": [[], [], []], "medium": [[1], [], []], "hard": [[1, 2], [], [1]]}
    found = read_widerface(images, written(images, TEXT), lists_of(images, faces))
    first = found.truth.images[0]
    assert {name: mask.tolist() for name, mask in first.subsets.items()} == {
        "easy": [False, False],
        "medium": [True, False],
        "hard": [True, True],
    }
    wrong = lists_of(images, faces | {"hard": [[3], [], []]})
    with pytest.raises(UserError, match=r"hard_val.mat: 0--Parade/a.jpg: face 3 of 2"):
        read_widerface(images, images.parent / "truth.txt", wrong)
    wrong["easy"].write_bytes(b"no list")
    with pytest.raises(UserError, match="is no list of WIDER FACE's evaluation"):
        read_widerface(images, images.parent / "truth.txt", wrong)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("2\n10", "two\n10", "truth.txt:2: after 0--Parade/a.jpg: expected the number of faces"),
        ("1\n-4", "2\n-4", "truth.txt:8: 1--Fair/c.png: 2 faces said, 1 lines left"),
        ("10 20 30 40 0", "10 20 30 40", "truth.txt:3: expected x1 y1 w h and six attributes"),
        (
            "10 20 30 40",
            "210 20 30 40",
            r"truth.txt:3: 0--Parade/a.jpg: .* outside the image of 100 x 80",
        ),
        ("c.png", "d.png", "d.png does not exist"),
        ("1--Fair/c.png", "0--Parade/a.jpg", "truth.txt:8: 0--Parade/a.jpg is listed twice"),
        (TEXT, "\n", "no image is listed"),
        (TEXT, "0--Parade/b.png\n0\n0 0 0 0 0 0 0 0 0 0\n", "no face that counts in 1 image"),
    ],
)
def test_wrong_text_is_refused_with_its_line(images: Path, old: str, new: str, words: str) -> None:
    assert old in TEXT
    with pytest.raises(UserError, match=words):
        read_widerface(images, written(images, TEXT.replace(old, new, 1)))


def test_a_file_that_changed_changes_the_fingerprint(images: Path) -> None:
    truth = written(images, TEXT)
    before = read_widerface(images, truth)
    found = before.fingerprint
    assert read_widerface(images, truth).fingerprint == found
    Image.new("RGB", (64, 48), (0, 0, 1)).save(images / "0--Parade/b.png")
    assert before.fingerprint != found
    Image.new("RGB", (65, 48)).save(images / "0--Parade/b.png")
    with pytest.raises(UserError, match="has changed: it is no longer 64 x 48"):
        before.image(1)


def coco(**changes: object) -> dict:
    keypoints = [20, 30, 2, 30, 30, 2, 25, 40, 0, 20, 50, 1, 30, 50, 1]
    return {
        "images": [
            {"id": 7, "file_name": "0--Parade/a.jpg", "height": 80, "width": 100},
            {"id": 8, "file_name": "0--Parade/b.png"},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "bbox": [10, 20, 30, 40], "keypoints": keypoints},
            {"id": 2, "image_id": 7, "bbox": [0, 0, 90, 70], "iscrowd": 1},
        ],
    } | changes


def test_coco(images: Path) -> None:
    found = read_coco(images, written(images, json.dumps(coco()), "c.json"))
    first, second = found.truth.images
    np.testing.assert_array_equal(first.boxes, [[10, 20, 40, 60], [0, 0, 90, 70]])
    assert first.ignored.tolist() == [False, True]
    np.testing.assert_array_equal(
        first.points[0], [[20, 30], [30, 30], [np.nan] * 2, [20, 50], [30, 50]]
    )
    assert np.isnan(first.points[1]).all()
    assert len(second) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"annotations": [{"image_id": 9, "bbox": [1, 2, 3, 4]}]},
            "annotation 1: there is no image 9",
        ),
        (
            {"annotations": [{"image_id": 7, "bbox": [1, 2, 3]}]},
            r"annotations.0.bbox.3: field required",
        ),
        (
            {"annotations": [{"id": 3, "image_id": 7, "bbox": [1, 2, 0, 4]}]},
            "annotation 3: .* no area",
        ),
        ({"annotations": []}, "no face that counts in 2 images"),
        ({"images": []}, "images: list should have at least 1 item"),
        (
            {"images": [{"id": 7, "file_name": "0--Parade/a.jpg", "height": 90, "width": 100}]},
            "100 x 90 pixels there, and 100 x 80 in",
        ),
        (
            {"categories": [{"id": 1, "name": "face"}, {"id": 2, "name": "person"}]},
            "say which category is faces; it has face, person",
        ),
    ],
)
def test_wrong_json_is_refused(images: Path, changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_coco(images, written(images, json.dumps(coco(**changes)), "c.json"))


def test_what_is_no_json(images: Path) -> None:
    with pytest.raises(UserError, match="is no JSON"):
        read_coco(images, written(images, "{", "c.json"))


def test_faces_of_one_category(images: Path) -> None:
    data = coco(categories=[{"id": 1, "name": "face"}, {"id": 2, "name": "person"}])
    data["annotations"][0]["category_id"] = 1
    data["annotations"][1]["category_id"] = 2
    path = written(images, json.dumps(data), "c.json")
    assert len(read_coco(images, path, "face").truth.images[0]) == 1
    with pytest.raises(UserError, match="there is no category 'faces'"):
        read_coco(images, path, "faces")
