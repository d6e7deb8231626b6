"""A face detector's ONNX file, run on this computer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.detection import (
    DetectionError,
    Detections,
    DetectorSpec,
    Output,
    detect,
    letterbox,
    recognized,
)
from orchestrator.errors import ToolchainError, UserError
from orchestrator.graphs.sessions import SAME_SUMS, faithful_session, joined

Size = tuple[int, int]


@dataclass(frozen=True)
class Pixels:
    """What a detector wants at its input: (pixel - mean) / std, channels in `colour` order."""

    colour: str
    mean: tuple[float, float, float]
    std: float | tuple[float, float, float]


PIXELS = {
    "scrfd": Pixels("RGB", (127.5, 127.5, 127.5), 128.0),
    "retinaface": Pixels("BGR", (104.0, 117.0, 123.0), 1.0),
    "yunet": Pixels("BGR", (0.0, 0.0, 0.0), 1.0),
    "centerface": Pixels("RGB", (0.0, 0.0, 0.0), 1.0),
    "ultralight": Pixels("RGB", (127.0, 127.0, 127.0), 128.0),
}
"""As each head's own repository has it; see the sources in `detection/heads/`."""


class Detector:
    """A loaded detector.

    Args:
        path: an ONNX file with one input (n, 3, height, width).
        size: height, width of the input, where the file leaves them open or others are wanted.
        min_score: boxes below it are no faces, 0 to 1.
        pixels: what its input wants, where it is not what its head's repository has.
        points: whether it must find five points of each face, as aligning needs.

    Attributes:
        model: the ONNX file with a batch of 1 and the input's size fixed, as it is run.
        resized: whether the file itself has another fixed size.
        input_name: of the image.

    Raises:
        UserError: the file cannot be used, or no known head has such outputs.
    """

    def __init__(
        self,
        path: Path,
        size: Size | None,
        min_score: float,
        pixels: Pixels | None = None,
        *,
        points: bool = True,
    ) -> None:
        data = _bytes(path)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.model, self.size, self.resized = _of_size(data, size, path)
        try:
            self._session = faithful_session(self.model, threads=SAME_SUMS, quiet=True)
            self.input_name = self._session.get_inputs()[0].name
            names = [output.name for output in self._session.get_outputs()]
            blank = np.zeros((1, 3, *self.size), np.float32)
            first = self._session.run(names, {self.input_name: blank})
        except ToolchainError as error:
            raise UserError(f"{path}: {error}") from error
        except Exception as error:  # onnxruntime raises kinds of its own
            text = str(error).splitlines()[0]
            raise UserError(
                f"{path} does not run with an input of {self.size[0]} x {self.size[1]}: {text}",
                "give the size (height x width) that it was made for: --size 640x640",
            ) from error
        shapes = [Output(name, value.shape) for name, value in zip(names, first, strict=True)]
        try:
            head, self._outputs = recognized(shapes, self.size)
        except DetectionError as error:
            raise UserError(f"{path}: {error}") from error
        if points and not head.has_points(len(self._outputs)):
            raise UserError(
                f"{path}: its outputs ({head.name}) have no points; aligning a face needs five",
                "use a detector with points, such as SCRFD, RetinaFace, YuNet or CenterFace",
            )
        by_name = {shape.name: shape for shape in shapes}
        ordered = tuple(by_name[name] for name in self._outputs)
        self.spec = DetectorSpec(head.name, ordered, self.size, min_score)
        self.pixels = pixels or PIXELS[head.name]

    def find(self, image: NDArray[np.uint8]) -> Detections:
        """Faces in an image, uint8 (h, w, 3) RGB, of any size; in its own pixels."""
        fed: NDArray[np.float32] = letterbox(image, self.size).astype(np.float32)
        if self.pixels.colour == "BGR":
            fed = fed[..., ::-1]
        std = np.asarray(self.pixels.std, np.float32)
        fed = ((fed - np.array(self.pixels.mean, np.float32)) / std).astype(np.float32)
        batch = np.ascontiguousarray(fed.transpose(2, 0, 1)[None])
        outputs = self._session.run(list(self._outputs), {self.input_name: batch})
        return detect(joined(outputs), self.spec, (image.shape[0], image.shape[1]))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _of_size(data: bytes, size: Size | None, path: Path) -> tuple[bytes, Size, bool]:
    """The model with one image of a fixed size at its input, that size, and whether the file
    itself has another one."""
    import onnx

    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises kinds of its own
        raise UserError(f"{path} is no ONNX file: {str(error).splitlines()[0]}") from error
    weights = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in weights]
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        raise UserError(f"{path}: expected one input of (n, 3, height, width), as detectors have")
    dims = inputs[0].type.tensor_type.shape.dim
    said = tuple(int(dim.dim_value) for dim in dims)
    if said[1] != 3:
        raise UserError(f"{path}: expected an input of (n, 3, height, width), not {list(said)}")
    if size is None and min(said[2:]) < 1:
        raise UserError(
            f"{path} leaves its input's height and width open", "give both: --size 640x640"
        )
    height, width = size or said[2:]
    _set(dims, (1, 3, height, width))
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    resized = min(said[2:]) > 0 and said[2:] != (height, width)
    return model.SerializeToString(), (height, width), resized


def _set(dims: Sequence[Any], values: Sequence[int]) -> None:
    for dim, value in zip(dims, values, strict=True):
        dim.Clear()
        dim.dim_value = value
