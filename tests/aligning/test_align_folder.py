"""`farm align` with a small real detector: red squares are its faces, CenterFace's outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from orchestrator.aligning.detector import Detector
from orchestrator.aligning.photos import chosen
from orchestrator.cli.main import main
from orchestrator.detection import Detections
from orchestrator.detection.align import TEMPLATE, aligned
from orchestrator.errors import UserError

FACE = 64  # pixels; the net's answer for each red cell of 4 x 4
MARKS = TEMPLATE / 112


def detector(path: Path, height: int | str = 128, width: int | str = 160, points: int = 10) -> Path:
    """A convolution of 4 x 4 pixels a cell: heat where red is; box and points are constant."""
    nodes, weights = [], []

    def conv(name: str, weight: np.ndarray, bias: np.ndarray, after: str = "") -> None:
        parts = {f"{name}_w": weight.astype(np.float32), f"{name}_b": bias.astype(np.float32)}
        weights.extend(numpy_helper.from_array(value, key) for key, value in parts.items())
        nodes.append(
            helper.make_node("Conv", ["image", *parts], [after or name], name, strides=[4, 4])
        )

    red = np.zeros((1, 3, 4, 4))
    red[0, 0], red[0, 1] = 1 / 16 / 8, -1 / 16 / 8
    conv("heat", red, np.array([-16.0]), "logit")
    nodes.append(helper.make_node("Sigmoid", ["logit"], ["heat"]))
    conv("scale", np.zeros((2, 3, 4, 4)), np.full(2, np.log(FACE / 4)))
    conv("offset", np.zeros((2, 3, 4, 4)), np.zeros(2))
    conv("marks", np.zeros((points, 3, 4, 4)), np.resize(MARKS[:, ::-1].reshape(-1), points))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in ("heat", "scale", "offset", "marks")
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, height, width])
    graph = helper.make_graph(nodes, "red", [image], outputs, weights)
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def photo(path: Path, *corners: tuple[int, int], size: tuple[int, int] = (320, 256)) -> Path:
    """A photo of twice the detector's input, with a red cell of the input at each corner."""
    pixels = np.random.default_rng(0).integers(60, 90, (size[1], size[0], 1), dtype=np.uint8)
    pixels = np.repeat(pixels, 3, 2)
    for x, y in corners:
        pixels[y : y + 8, x : x + 8] = (255, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


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
