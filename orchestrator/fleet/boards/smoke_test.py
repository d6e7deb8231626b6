"""The tiny model by which a runtime proves itself, and what it must answer.

A 3x3 convolution, ReLU, and a sum over the image for each of four channels. All weights are small
whole numbers and the inputs multiples of 1/64, so float32 computes it exactly in any order, and
what is expected is worked out here in whole numbers, by no runtime at all.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.fleet.boards.board import Artifact

SIZE = 16
CHANNELS = 4
MEAN, STD = 128.0, 64.0
IMAGES = 3
TOLERANCE = 1e-3
"""Largest allowed difference, as a share of the largest expected value."""


@functools.cache
def weights() -> NDArray[np.int64]:
    """The convolution's weights: whole numbers of -3 to 3, (4, 3, 3, 3)."""
    steps = np.arange(CHANNELS * 3 * 9, dtype=np.int64)
    return ((steps * 37 + steps // 5) % 7 - 3).reshape(CHANNELS, 3, 3, 3)


@functools.cache
def images() -> NDArray[np.uint8]:
    """Three different images, uint8 (3, 16, 16, 3), RGB: a stuck output fits one at most."""
    count = IMAGES * SIZE * SIZE * 3
    steps = np.arange(count, dtype=np.int64)
    pixels = (steps * 2654435761 >> 7) % 251
    return pixels.astype(np.uint8).reshape(IMAGES, SIZE, SIZE, 3)


@functools.cache
def expected() -> NDArray[np.float32]:
    """The features, float32 (3, 4)."""
    pixels = images().astype(np.int64).transpose(0, 3, 1, 2) - int(MEAN)
    inner = SIZE - 2
    sums = np.zeros((IMAGES, CHANNELS, inner, inner), np.int64)
    for row in range(3):
        for column in range(3):
            part = pixels[:, :, row : row + inner, column : column + inner]
            sums += np.einsum("nchw,kc->nkhw", part, weights()[:, :, row, column])
    exact: NDArray[np.float32] = (np.maximum(sums, 0).sum((2, 3)) / STD).astype(np.float32)
    return exact


@functools.cache
def model() -> bytes:
    """The model as ONNX, opset 11, which every onnxruntime since 1.0 and TensorRT since 7 reads."""
    from onnx import TensorProto, helper, numpy_helper

    kernel = numpy_helper.from_array(weights().astype(np.float32), "kernel")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["data", "kernel"], ["sums"], kernel_shape=[3, 3]),
            helper.make_node("Relu", ["sums"], ["kept"]),
            helper.make_node("ReduceSum", ["kept"], ["feature"], axes=[2, 3], keepdims=0),
        ],
        "farm-proof",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("feature", TensorProto.FLOAT, [1, CHANNELS])],
        [kernel],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    proto.ir_version = 6
    return bytes(proto.SerializeToString(deterministic=True))


def artifact(runtime: str, options: Mapping[str, Any]) -> Artifact:
    """The model as something to deploy and open; `options` as the board's entry has them."""
    sha256 = hashlib.sha256(model()).hexdigest()
    return Artifact(
        name=f"proof-{sha256[:16]}.onnx",
        sha256=sha256,
        runtime=runtime,
        options={**options, "intra_op_threads": 1},
        preprocessing={
            "layout": "NCHW",
            "colour": "RGB",
            "mean": [MEAN] * 3,
            "std": [STD] * 3,
            "height": SIZE,
            "width": SIZE,
        },
    )


def disagreement(features: NDArray[np.float32]) -> str:
    """Why `features` are not what the model makes of the images; empty when they are."""
    want = expected()
    if features.shape != want.shape:
        return f"it made features of the shape {features.shape}, expected {want.shape}"
    if not np.isfinite(features).all():
        return "it made features that are no numbers"
    worst = float(np.abs(features - want).max())
    if worst > TOLERANCE * float(np.abs(want).max()):
        return (
            f"it computes wrongly: its features differ by up to {worst:.4g} from the exact ones "
            f"(largest {np.abs(want).max():.4g})"
        )
    return ""
