"""The last step of every ONNX artifact: batch 1, versions stamped, checked, loaded once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from orchestrator.errors import ToolchainError
from orchestrator.graphs import edit
from orchestrator.graphs.describe import ModelInfo, describe_proto
from orchestrator.graphs.sessions import faithful_session
from orchestrator.graphs.stamp import freeze_batch, set_opset, strip_domains


def finish_onnx(model: bytes, *, opset: int, ir: int, exact_opset: bool = False) -> bytes:
    """A deployable ONNX file: batch frozen to 1, only used domains, checked and run once.

    Args:
        model: what a toolchain's `quantize` made.
        opset: the newest operator set the runtime reads; an older file is left as it is.
        ir: the newest file format version the runtime reads; an older one is left.
        exact_opset: stamp `opset` even on an older file.

    Raises:
        ToolchainError: it cannot be said in `opset`, or onnxruntime cannot run it.
    """
    proto = edit.load(model, "the quantized model")
    strip_domains(proto)
    if exact_opset or edit.opset(proto) > opset:
        proto = set_opset(proto, opset)
    proto.ir_version = min(proto.ir_version, ir)
    freeze_batch(proto, 1)
    finished = edit.dump(proto)
    edit.load(finished, "the converted model")
    session = faithful_session(finished)
    info = session.get_inputs()[0]
    # Noise: a model that normalizes each image divides by nothing where all pixels are alike.
    noise = np.random.default_rng(0).uniform(-1, 1, info.shape).astype(np.float32)
    outputs = session.run(None, {info.name: noise})
    if not all(np.isfinite(output).all() for output in outputs):
        raise ToolchainError(
            "the converted model gives NaN or infinity for an image of noise",
            "look at the layer report: farm explain",
        )
    return finished


def onnx_facts(model: bytes) -> dict[str, Any]:
    """What a manifest says about an ONNX artifact."""
    proto = onnx.ModelProto.FromString(model)
    info = describe_proto(proto)
    return {
        "opset": info.opset,
        "ir": info.ir,
        "input": {
            "name": info.input.name,
            "shape": list(info.input.shape),
            "dtype": info.input.dtype,
            "layout": "NCHW" if info.input.shape[1:2] == (3,) else "NHWC",
            "normalized_by": "caller",
        },
        **outputs_facts(info),
        "embedding_size": info.embedding_size,
    }


def outputs_facts(info: ModelInfo, dtype: str | None = None) -> dict[str, Any]:
    """What a manifest says about outputs: `output`, and all in `outputs` where there are several.

    Args:
        dtype: what the runtime gives, where that is not the graph's own.
    """
    found = [
        {"name": each.name, "shape": list(each.shape), "dtype": dtype or each.dtype}
        for each in info.outputs
    ]
    return {"output": found[0]} | ({"outputs": found} if len(found) > 1 else {})
