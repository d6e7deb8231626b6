"""The network that is calibrated computes the bits of the model's own operators."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from orchestrator.calibration.network import Network, replace_prelus
from orchestrator.graphs.prepare import prepare
from orchestrator.graphs.sessions import faithful_session
from tests.toolchains import nets

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
        ([0.0, 0.25, 1.0], ["Mul", "Max"]),
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


def test_every_activation_has_the_models_bits(tmp_path):
    prepared = prepare(nets.iresnet())
    proto = onnx.ModelProto.FromString(prepared)
    assert "PRelu" in {node.op_type for node in proto.graph.node}
    network = Network(prepared, tmp_path, tensors=True)
    fetched = [name for name in network.tensors if name != network.input]
    kept = {output.name for output in proto.graph.output}
    proto.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in fetched
        if name not in kept
    )
    session = faithful_session(proto.SerializeToString(), threads=1, optimize=False)
    for image in nets.images(3)[:, None]:
        expected = dict(zip(fetched, session.run(fetched, {network.input: image}), strict=True))
        found = dict(zip(network.tensors, network.activations(image), strict=True))
        extremes = dict(zip(network.tensors, network.extremes(image), strict=True))
        assert set(found) == {*expected, network.input}
        for name, values in expected.items():
            assert found[name].tobytes() == values.tobytes(), name
            assert extremes[name].tolist() == [values.min(), values.max()], name
    assert list(tmp_path.iterdir()) == []
