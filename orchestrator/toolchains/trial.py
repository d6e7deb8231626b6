"""A small model through a new environment, from ONNX to the vendor's file and its simulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from orchestrator.environments import Environment
from orchestrator.errors import ToolchainError
from orchestrator.toolchains.base import Conversion, Scheme
from orchestrator.toolchains.vendors.rknn import RknnToolchain

_SIZE, _CHANNELS, _DIM = 32, 16, 32
_TARGET = "rk3588"
_LOWEST = 0.95


def small_model() -> bytes:
    """Convolution, PReLU, Flatten and Gemm: [N, 3, 32, 32] to [N, 32], weights from seed 0."""
    random = np.random.default_rng(0)

    def constant(name: str, *shape: int, scale: float) -> onnx.TensorProto:
        return numpy_helper.from_array(random.normal(0, scale, shape).astype(np.float32), name)

    flat = _CHANNELS * (_SIZE // 2) ** 2
    graph = helper.make_graph(
        [
            helper.make_node(
                "Conv", ["data", "w"], ["conv"], "conv", strides=[2, 2], pads=[1, 1, 1, 1]
            ),
            helper.make_node("PRelu", ["conv", "slope"], ["prelu"], "prelu"),
            helper.make_node("Flatten", ["prelu"], ["flat"], "flatten"),
            helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], ["feature"], "fc", transB=1),
        ],
        "small",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, _SIZE, _SIZE])],
        [helper.make_tensor_value_info("feature", TensorProto.FLOAT, ["N", _DIM])],
        [
            constant("w", _CHANNELS, 3, 3, 3, scale=0.3),
            constant("slope", _CHANNELS, 1, 1, scale=0.2),
            constant("fc.w", _DIM, flat, scale=flat**-0.5),
            constant("fc.b", _DIM, scale=0.1),
        ],
    )
    opset = [helper.make_opsetid("", 13)]
    model: bytes = helper.make_model(graph, opset_imports=opset, ir_version=7).SerializeToString()
    return model


def small_images(count: int = 8) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (count, 32, 32, 3): smooth patches, so that quantizing them costs little."""
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (count, 4, 4, 3), np.uint8)
    return coarse.repeat(_SIZE // 4, axis=1).repeat(_SIZE // 4, axis=2)


def convert_a_small_model(environment: Environment) -> Mapping[str, Any]:
    """Convert to int8 for one target; what the manifest says of it.

    Raises:
        ToolchainError: it fails, or the simulator's features are not near float32's.
    """
    chain = RknnToolchain.within(environment)
    scheme = Scheme("int8", "per-channel", "asymmetric", "minmax")
    preprocessing = {"layout": "NCHW", "colour": "RGB", "mean": 127.5, "std": 127.5}
    preprocessing |= {"height": _SIZE, "width": _SIZE}
    wanted = Conversion(_TARGET, preprocessing, small_images())
    artifact = chain.convert(chain.quantize(small_model(), None, scheme).data, wanted)
    cosine = artifact.manifest["simulator_cosine"]
    if cosine < _LOWEST:
        raise ToolchainError(
            f"{chain.toolkit()} converts, but its simulator's features of a small model have a "
            f"cosine of {cosine:.3f} to float32's, expected {_LOWEST} or more",
            "please report this with the versions that `farm toolchain list` shows",
        )
    return {"target": _TARGET, "bytes": len(artifact.data), "simulator_cosine": cosine}
