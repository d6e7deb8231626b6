"""Shapes inferred in memory are those of the quantizer's own way over the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import quant_utils as stock

from orchestrator.graphs.inferred import infer_as_quantizer
from orchestrator.graphs.prepare import prepare
from tests.toolchains import nets

MODELS = Path(__file__).parents[2] / "models"


def reshaped() -> bytes:
    """Shapes that follow from constants, small and large, raw and typed."""
    floats = np.arange(992, dtype=np.float32)
    constants = [
        numpy_helper.from_array(np.array([0, -1], np.int64), "shape"),
        numpy_helper.from_array(np.tile(np.int64(1), 200), "large shape"),
        numpy_helper.from_array(floats[:239], "small"),
        numpy_helper.from_array(floats[:240], "large"),
        helper.make_tensor("typed", TensorProto.FLOAT, [992], floats),
    ]
    nodes = [
        helper.make_node("Flatten", ["data"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["again"]),
        helper.make_node("Reshape", ["data", "large shape"], ["unknown"], allowzero=0),
        helper.make_node("ReduceMax", ["again"], ["top"], keepdims=0),
        *(
            helper.make_node("Mul", [name, "top"], [f"{name} scaled"])
            for name in ("small", "large", "typed")
        ),
    ]
    outputs = ["unknown", "small scaled", "large scaled", "typed scaled"]
    graph = helper.make_graph(
        nodes,
        "reshaped",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        constants,
    )
    opsets = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=7).SerializeToString()


CASES = {
    "toy": lambda: prepare(nets.iresnet()),
    "opset 17": lambda: prepare(nets.iresnet(opset=17)),
    "recognizer": lambda: prepare((MODELS / "synthface-ir.onnx").read_bytes()),
    "detector": lambda: prepare((MODELS / "synthdet.onnx").read_bytes()),
    "constants": reshaped,
}


@pytest.mark.parametrize("case", CASES)
def test_the_model_is_the_one_that_the_quantizer_would_have_read_back(case):
    proto = onnx.ModelProto.FromString(CASES[case]())
    theirs = stock.save_and_reload_model_with_shape_infer(proto)
    infer_as_quantizer(proto)
    assert stock.model_has_infer_metadata(proto)
    assert without_properties(proto) == without_properties(theirs)
    assert len(proto.graph.value_info) > 2
    properties = [{p.key: p.value for p in each.metadata_props} for each in (proto, theirs)]
    assert properties[0] == properties[1]


def without_properties(proto: ModelProto) -> bytes:
    copy = ModelProto()
    copy.CopyFrom(proto)
    del copy.metadata_props[:]
    return copy.SerializeToString(deterministic=True)
