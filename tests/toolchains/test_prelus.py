"""A PRelu by other operators computes the same bits."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from orchestrator.graphs.prelus import replace_prelus
from orchestrator.graphs.sessions import faithful_session
from orchestrator.toolchains import twin_toolchain
from tests.toolchains import nets
from tests.toolchains.test_twins import CASES, table

SIZE = 19
SPECIAL = np.array(
    [0.0, -0.0, 1e-45, -1e-45, 1.2e-38, -1.2e-38, 1.0, -1.0, 3.4e38, -3.4e38], np.float32
)


def prelu(slopes: np.ndarray) -> onnx.ModelProto:
    """A PRelu of (1, 3, SIZE) by (3, 1)."""
    graph = helper.make_graph(
        [helper.make_node("PRelu", ["data", "slopes"], ["out"], name="prelu")],
        "prelu",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, SIZE])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3, SIZE])],
        [numpy_helper.from_array(np.asarray(slopes, np.float32).reshape(3, 1), "slopes")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def computed(proto: onnx.ModelProto, data: np.ndarray) -> bytes:
    session = faithful_session(proto.SerializeToString(), threads=1, optimize=False)
    return bytes(session.run(None, {"data": data})[0].tobytes())


def slopes_within(low: float, high: float) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, 3, elements=st.floats(low, high, width=32))


@settings(deadline=None, max_examples=60)
@given(
    slopes=st.one_of(slopes_within(0, 1), slopes_within(1, 8), slopes_within(-2, 2)),
    data=arrays(np.float32, (1, 3, SIZE), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    at=st.integers(0, SIZE - 1 - SPECIAL.size),
)
def test_a_replaced_prelu_gives_the_same_bits(slopes, data, at):
    data[:, :, at : at + SPECIAL.size] = SPECIAL
    model = prelu(slopes)
    expected = computed(model, data)
    replace_prelus(model.graph)
    assert computed(model, data) == expected


@pytest.mark.parametrize(
    ("slopes", "operators"),
    [
        ([0.125, 0.25, 1.0], ["Mul", "Max"]),
        ([0.0, 0.25, 1.0], ["PRelu"]),
        ([1.0, 1.5, 2.0], ["Mul", "Min"]),
        ([0.5, 0.25, 1.5], ["PRelu"]),
        ([0.5, 0.25, -0.1], ["PRelu"]),
        ([0.5, 0.25, -0.0], ["PRelu"]),
    ],
)
def test_only_slopes_that_allow_it_are_replaced(slopes, operators):
    model = prelu(np.array(slopes))
    replace_prelus(model.graph)
    assert [node.op_type for node in model.graph.node] == operators
    assert list(model.graph.node[-1].output) == ["out"]


def test_the_sign_of_zero_counts_unless_the_result_is_quantized_at_once():
    model = prelu(np.array([0.5, 0.25, -0.125]))
    node = model.graph.node[0]
    node.output[0] = "raw"
    scale = [numpy_helper.from_array(np.float32(0.125), "scale")]
    zero = [numpy_helper.from_array(np.uint8(7), "zero")]
    model.graph.initializer.extend(scale + zero)
    names = ["scale", "zero"]
    model.graph.node.extend(
        [
            helper.make_node("QuantizeLinear", ["raw", *names], ["quantized"]),
            helper.make_node("DequantizeLinear", ["quantized", *names], ["out"]),
        ]
    )
    data = np.resize(SPECIAL, (1, 3, SIZE))
    expected = computed(model, data)
    replace_prelus(model.graph)
    assert [node.op_type for node in model.graph.node][:2] == ["Mul", "Max"]
    assert computed(model, data) == expected


def test_a_negative_slope_stays_where_somebody_else_reads_the_result():
    model = prelu(np.array([0.5, 0.25, -0.125]))
    node = model.graph.node[0]
    node.output[0] = "raw"
    model.graph.node.append(helper.make_node("Neg", ["raw"], ["out"]))
    replace_prelus(model.graph)
    assert [node.op_type for node in model.graph.node] == ["PRelu", "Neg"]


@pytest.mark.parametrize(("vendor", "scheme"), CASES, ids=str)
def test_a_twin_has_the_bits_of_its_prelus(vendor, scheme):
    chain = twin_toolchain(vendor)
    quantized = chain.quantize(nets.iresnet(), table(), scheme).data
    made = chain.convert(quantized).data
    assert "PRelu" in {node.op_type for node in onnx.ModelProto.FromString(quantized).graph.node}
    assert "PRelu" not in {node.op_type for node in onnx.ModelProto.FromString(made).graph.node}
    batch = nets.images(6, seed=5)
    assert nets.run(made, batch).tobytes() == nets.run(quantized, batch).tobytes()
