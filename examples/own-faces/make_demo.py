"""Fills this folder with a tiny test set and an untrained model, so that the example runs.

The faces are rendered, the model's weights are random: its figures mean nothing. Replace both.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from orchestrator.images import render

HEIGHT, WIDTH = 96, 80
ENROLLED, UNKNOWN, CALIBRATION = 12, 20, 16


def write_faces(folder: Path) -> None:
    """`ENROLLED` people with two images, `UNKNOWN` with one, and others to calibrate with."""
    people = np.arange(ENROLLED + UNKNOWN)
    for role, shot, ids in (("gallery", 0, people[:ENROLLED]), ("probe", 1, people)):
        for person, face in zip(ids, render(ids, np.full(len(ids), shot)), strict=True):
            place = folder / "faces" / role / f"person-{person:02}"
            _save(place / f"{shot}.png", face)
    ids = np.arange(CALIBRATION) + 2_000_000
    for number, face in enumerate(render(ids, np.zeros(CALIBRATION))):
        _save(folder / "calibration" / f"{number:02}.png", face)


def _save(path: Path, face: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(face).resize((WIDTH, HEIGHT)).save(path)


def write_model(path: Path) -> None:
    """Two convolutions and a linear layer with random weights: 3 x 96 x 80 to 64 numbers."""
    random = np.random.default_rng(0)
    shapes = {
        "w1": (8, 3, 5, 5),
        "b1": (8,),
        "w2": (16, 8, 3, 3),
        "b2": (16,),
        "w3": (16 * 12 * 10, 64),
        "b3": (64,),
    }
    weights = [
        numpy_helper.from_array(
            (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32),
            name,
        )
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["pixels", "w1", "b1"], ["c1"], strides=[4, 4], pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "demo",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 64])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def stamp(manifest: Path, model: Path) -> None:
    """Put the model's sha256 into its manifest."""
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    text = re.sub(r'(?m)^sha256: ".*"$', f'sha256: "{digest}"', manifest.read_text())
    manifest.write_text(text)


def main(folder: Path) -> None:
    """Fill `folder`, which holds models/my-model.yaml."""
    write_faces(folder)
    model = folder / "models" / "my-model.onnx"
    write_model(model)
    stamp(folder / "models" / "my-model.yaml", model)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
