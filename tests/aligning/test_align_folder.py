"""`farm align` with a small real detector: red squares are its faces, CenterFace's outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.aligning.detector import Detector
from orchestrator.aligning.photos import chosen
from orchestrator.cli.main import main
from orchestrator.detection import Detections
from orchestrator.detection.align import aligned
from orchestrator.errors import UserError

from ..red_detector import FACE, MARKS, detector, photo


def test_photos_become_faces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, faces = tmp_path / "photos", tmp_path / "faces"
    first = photo(photos / "gallery" / "ann" / "1.png", (160, 128))
    photo(photos / "probe" / "ann" / "2.png", (80, 80), (240, 168))
    photo(photos / "probe" / "bob" / "3.png")
    model = detector(tmp_path / "red.onnx")
    assert main(["align", str(photos), "--model", str(model), "--to", str(faces)]) == 0
    said = capsys.readouterr().out
    assert "red.onnx: outputs of centerface, input 128 x 160" in said
    assert f"2 faces of 3 photos in {faces}" in said
    assert "1 photo with more than one face: the largest was taken" in said
    assert "1 failure to acquire (33.3 %)" in said
    found = json.loads((faces / "provenance.json").read_text())
    assert (found["photos"], found["failures_to_acquire"], found["unreadable"]) == (3, 1, 0)
    assert [each["face"] for each in found["results"]] == [
        "gallery/ann/1.png",
        "probe/ann/2.png",
        None,
    ]
    # Cell 40, 32 of the input, its middle at 162 x 130 of the input's 160 x 128, doubled.
    middle = np.array([(160 / 8 + 0.5) * 8, (128 / 8 + 0.5) * 8])
    box = np.concatenate([middle - FACE, middle + FACE])
    np.testing.assert_allclose(found["results"][0]["box"], box, atol=0.02)
    pixels = np.asarray(Image.open(first).convert("RGB"))
    wanted = aligned(pixels, box[:2] + MARKS * 2 * FACE)
    written = np.asarray(Image.open(faces / "gallery/ann/1.png"))
    assert written.shape == (112, 112, 3)
    assert np.abs(written.astype(int) - wanted).max() <= 2
    assert not list(tmp_path.glob(".faces-*"))


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["align", *words]) == 2
    return capsys.readouterr().err


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, to = tmp_path / "photos", str(tmp_path / "faces")
    photo(photos / "a.png", (160, 128))
    (photos / "b.jpg").write_bytes(b"no image")
    model = str(detector(tmp_path / "red.onnx"))
    assert "b.jpg" in refused([str(photos), "--model", model, "--to", to], capsys)
    assert not Path(to).exists()
    lenient = ["--to", to, "--skip-unreadable"]
    assert main(["align", str(photos), "--model", model, *lenient]) == 0
    assert "1 failure to acquire (50.0 %)" in capsys.readouterr().out
    assert "is not empty" in refused([str(photos), "--model", model, *lenient], capsys)
    inside = ["--to", str(photos / "faces")]
    assert "lies within" in refused([str(photos), "--model", model, *inside], capsys)
    photo(photos / "a.bmp")
    other = ["--to", str(tmp_path / "other")]
    assert "both become a.png" in refused([str(photos), "--model", model, *other], capsys)
    dark = photo(tmp_path / "dark" / "1.png").parent
    assert "no face in 1 photo at" in refused([str(dark), "--model", model, *other], capsys)
    assert not (tmp_path / "other").exists()
    assert "no folder" in refused(["nowhere", "--model", model, *other], capsys)


@pytest.mark.parametrize(
    ("changes", "size", "words"),
    [
        ({"height": "h", "width": "w"}, None, "height and width open"),
        ({"points": 8}, None, "no known detection head has these outputs"),
        ({}, (2, 160), "does not run with an input of 2 x 160"),
    ],
)
def test_detectors_that_cannot_be_used(tmp_path: Path, changes: dict, size, words: str) -> None:
    model = detector(tmp_path / "red.onnx", **changes)
    with pytest.raises(UserError, match=words):
        Detector(model, size, 0.5)


def test_an_open_size_is_given(tmp_path: Path) -> None:
    model = detector(tmp_path / "red.onnx", "h", "w")
    assert Detector(model, (96, 128), 0.5).spec.outputs[0].shape == (1, 1, 24, 32)
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is no ONNX file"):
        Detector(tmp_path / "x.onnx", None, 0.5)


def test_the_largest_face_is_taken() -> None:
    boxes = np.array([[0, 0, 9, 9], [0, 0, 20, 20], [5, 5, 25, 25]], np.float32)
    assert chosen(Detections(boxes, np.array([0.9, 0.6, 0.7], np.float32))) == 2
