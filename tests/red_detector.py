"""A small real detector with CenterFace's outputs, whose faces are red cells; and photos for it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from orchestrator.detection.align import TEMPLATE

FACE = 64  # pixels; the net's answer for each red cell of 4 x 4
MARKS = TEMPLATE / 112


def detector(
    path: Path,
    height: int | str = 128,
    width: int | str = 160,
    points: int = 10,
    *,
    sigmoid: bool = True,
) -> Path:
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
    nodes.append(helper.make_node("Sigmoid" if sigmoid else "Identity", ["logit"], ["heat"]))
    conv("scale", np.zeros((2, 3, 4, 4)), np.full(2, np.log(FACE / 4)))
    conv("offset", np.zeros((2, 3, 4, 4)), np.zeros(2))
    conv("marks", np.zeros((points, 3, 4, 4)), np.resize(MARKS[:, ::-1].reshape(-1), points))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4)
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


Corners = tuple[tuple[int, int], ...]


def annotated(folder: Path, photos: dict[str, tuple[Corners, Corners]]) -> Path:
    """Photos with COCO's annotations of exactly the boxes that the detector's cells stand for.

    Args:
        folder: receives `photos/` and `coco.json`.
        photos: name to the corners of the faces that are there and red, and of those that are
            there and not red, which the detector cannot find.

    Returns:
        the annotations' file.
    """
    images, faces = [], []
    side = 2 * FACE
    for number, (name, (red, hidden)) in enumerate(photos.items()):
        photo(folder / "photos" / name, *red)
        images.append({"id": number, "file_name": name, "width": 320, "height": 256})
        for x, y in (*red, *hidden):
            points = MARKS * side + (x + 4 - FACE, y + 4 - FACE)
            faces.append(
                {
                    "id": len(faces),
                    "image_id": number,
                    "bbox": [x + 4 - FACE, y + 4 - FACE, side, side],
                    "keypoints": [v for px, py in points.tolist() for v in (px, py, 2)],
                }
            )
    path = folder / "coco.json"
    path.write_text(json.dumps({"images": images, "annotations": faces}))
    return path


def manifest(folder: Path, *, sigmoid: bool = True) -> Path:
    """`models/red.onnx` and its manifest below a folder."""
    (folder / "models").mkdir(parents=True, exist_ok=True)
    data = detector(folder / "models" / "red.onnx", sigmoid=sigmoid).read_bytes()
    path = folder / "models" / "red.yaml"
    path.write_text(
        f"""\
name: red
task: detection
file: red.onnx
sha256: "{hashlib.sha256(data).hexdigest()}"
input: {{name: image, height: 128, width: 160, mean: 0, std: 1}}
detection: {{head: centerface}}
licence: none
provenance: a test
"""
    )
    return path
