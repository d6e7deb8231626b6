"""Files that are quantized already: what is read of them, and that nothing they compute changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from orchestrator.errors import UserError
from orchestrator.graphs import edit, prelus, qdq
from orchestrator.graphs.sessions import faithful_session
from orchestrator.graphs.stamp import set_opset
from orchestrator.toolchains import tensorrt_rules, toolchain, twin_names, twin_toolchain
from orchestrator.toolchains.base import Scheme

GIVEN = Scheme("as-given")
SIZE = 12


def qdq_model(
    *,
    activation: Any = np.int8,
    zero: int = 0,
    per_channel: bool = True,
    stored: bool = True,
    scalar_fc: bool = False,
    as_nodes: bool = False,
    opset: int = 13,
) -> bytes:
    """Conv, PRelu, Flatten, Gemm to 8, with weights stored as int8 (or float32 behind a pair)."""
    random = np.random.default_rng(0)
    constants: dict[str, Any] = {}
    nodes: list[NodeProto] = []

    def constant(name: str, value: Any) -> str:
        if as_nodes:
            tensor = numpy_helper.from_array(np.asarray(value), name)
            nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            constants[name] = np.asarray(value)
        return name

    def pair(name: str, scale: float, at: int = zero) -> str:
        names = [constant(f"{name}_s", np.float32(scale)), constant(f"{name}_z", activation(at))]
        nodes.append(helper.make_node("QuantizeLinear", [name, *names], [f"{name}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", *names], [f"{name}_d"]))
        return f"{name}_d"

    def weight(name: str, shape: tuple[int, ...], channels: bool) -> str:
        count = shape[0] if channels else 1
        scale = random.uniform(0.01, 0.02, count).astype(np.float32)
        integers = random.integers(-127, 128, shape).astype(np.int8)
        zeros = np.zeros(count, np.int8)
        if not channels:
            scale, zeros = scale.reshape(()), zeros.reshape(())
        names = [constant(f"{name}_s", scale), constant(f"{name}_z", zeros)]
        axis = {"axis": 0} if channels else {}
        if stored:
            inner = constant(f"{name}_i", integers)
        else:
            wide = scale.reshape(-1, *[1] * (len(shape) - 1)) if channels else scale
            inner = f"{name}_q"
            value = (integers * wide).astype(np.float32)
            source = [constant(name, value), *names]
            nodes.append(helper.make_node("QuantizeLinear", source, [inner], **axis))
        nodes.append(helper.make_node("DequantizeLinear", [inner, *names], [f"{name}_d"], **axis))
        return f"{name}_d"

    def bias(name: str, count: int) -> str:
        names = [constant(f"{name}_i", random.integers(-9999, 9999, count).astype(np.int32))]
        names += [constant(f"{name}_s", np.float32(1e-4)), constant(f"{name}_z", np.int32(0))]
        nodes.append(helper.make_node("DequantizeLinear", names, [f"{name}_d"]))
        return f"{name}_d"

    inputs = [pair("x", 1 / 127), weight("w", (4, 3, 3, 3), per_channel), bias("b", 4)]
    nodes.append(helper.make_node("Conv", inputs, ["c"], strides=[2, 2]))
    nodes.append(
        helper.make_node(
            "PRelu", ["c", constant("slope", np.full((4, 1, 1), 0.2, np.float32))], ["r"]
        )
    )
    nodes.append(helper.make_node("Flatten", [pair("r", 0.05)], ["f"]))
    fc = weight("fc", (8, 4 * 25), per_channel and not scalar_fc)
    nodes.append(helper.make_node("Gemm", [pair("f", 0.05), fc, bias("fb", 8)], ["y"], transB=1))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return edit.dump(made)


def computed(model: bytes) -> Any:
    session = faithful_session(model)
    images = np.random.default_rng(1).uniform(-1, 1, (6, 1, 3, SIZE, SIZE)).astype(np.float32)
    return np.concatenate([session.run(None, {"x": image})[0] for image in images])


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({}, ("int8", "per-channel", "symmetric")),
        ({"stored": False, "as_nodes": True}, ("int8", "per-channel", "symmetric")),
        ({"per_channel": False, "zero": -3}, ("int8", "per-tensor", "asymmetric")),
        ({"activation": np.uint8, "zero": 128}, ("as given", "per-channel", "symmetric")),
        ({"activation": np.uint8}, ("as given", "per-channel", "asymmetric")),
        ({"scalar_fc": True}, ("int8", "as given", "symmetric")),
    ],
)
def test_the_axes_are_those_of_the_nodes(how: dict[str, Any], says: tuple[str, ...]) -> None:
    found = qdq.facts(qdq.normal(qdq_model(**how)))
    assert (found.dtype, found.granularity, found.symmetry) == says
    assert (found.layers, found.quantized) == (2, 2)


@pytest.mark.parametrize("how", [{}, {"as_nodes": True}, {"stored": False}, {"per_channel": False}])
def test_nothing_that_a_file_computes_changes(how: dict[str, Any]) -> None:
    given = qdq_model(**how)
    expected = computed(given)
    for made in (qdq.normal(given), qdq.explicit(qdq.normal(given))):
        assert np.array_equal(computed(made), expected)


def test_tensorrt_gets_float_weights_behind_pairs_and_float_biases() -> None:
    chain = toolchain("tensorrt")
    quantized = chain.quantize(qdq_model(), None, GIVEN)
    assert quantized.manifest["scheme"]["dtype"] == "as-given"
    made = chain.convert(quantized.data)
    assert not tensorrt_rules.violations(made.data)
    assert np.array_equal(computed(made.data), computed(qdq_model()))
    proto = ModelProto.FromString(made.data)
    kinds = {t.data_type for t in proto.graph.initializer if len(t.dims) > 1}
    assert kinds == {TensorProto.FLOAT}
    # Its twin is the very file.
    twin = twin_toolchain("tensorrt")
    data = twin.convert(twin.quantize(qdq_model(), None, GIVEN).data).data
    assert data == prelus.replaced(made.data) != made.data
    assert np.array_equal(computed(data), computed(made.data))


@pytest.mark.parametrize("how", [{"zero": -3}, {"activation": np.uint8, "zero": 7}])
def test_tensorrt_refuses_zero_points(how: dict[str, Any]) -> None:
    chain = toolchain("tensorrt")
    quantized = chain.quantize(qdq_model(**how), None, GIVEN)
    with pytest.raises(Exception, match=r"a zero point is not 0|the type is UINT8"):
        chain.convert(quantized.data)


@pytest.mark.parametrize("vendor", ["tengine", "rknn1"])
def test_who_quantizes_alone_takes_no_given_file(vendor: str) -> None:
    for chain in (toolchain(vendor), twin_toolchain(vendor)):
        with pytest.raises(UserError, match="takes no file that is quantized already"):
            chain.quantize(qdq_model(), None, GIVEN)


def test_every_other_twin_runs_the_file_itself() -> None:
    for vendor in set(twin_names()) - {"tengine", "rknn1"}:
        chain = twin_toolchain(vendor)
        made = chain.convert(chain.quantize(qdq_model(zero=0), None, GIVEN).data)
        assert np.array_equal(computed(made.data), computed(qdq_model()))
        assert made.manifest["executed_by"] == "twin"


def broken(change: Any) -> bytes:
    proto = ModelProto.FromString(qdq_model())
    change(proto.graph)
    return edit.dump(proto)


def with_integers(graph: Any) -> None:
    node = next(node for node in graph.node if node.op_type == "Conv")
    node.op_type = "ConvInteger"


def without_dequantizing(graph: Any) -> None:
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            node.op_type = "Cast"
            del node.input[1:], node.attribute[:]
            node.attribute.append(helper.make_attribute("to", TensorProto.FLOAT))


def negative_scale(graph: Any) -> None:
    edit.replace_initializer(graph, "x_s", np.array(-1.0))


def scale_of_an_input(graph: Any) -> None:
    copies = [NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    for node in copies:
        for position, name in enumerate(node.input):
            if name == "x_s":
                node.input[position] = "found"
    del graph.node[:]
    graph.node.extend([helper.make_node("Abs", ["x_s"], ["found"]), *copies])


def sixteen_bits(graph: Any) -> None:
    for name in ("x_z",):
        tensor = next(t for t in graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.uint16(0), name))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (with_integers, "holds integers in its operators"),
        (without_dequantizing, "not quantized: it has no DequantizeLinear"),
        (negative_scale, "not a positive number"),
        (scale_of_an_input, "not a constant"),
        (sixteen_bits, "expected int8 or uint8"),
    ],
)
def test_what_is_no_qdq_file_is_refused_in_words(change: Any, says: str) -> None:
    data = broken(change)
    with pytest.raises(UserError, match=says):
        qdq.normal(data)


def test_float32_is_refused_as_such() -> None:
    model = onnx.load("models/synthface-mfn.onnx").SerializeToString()
    with pytest.raises(UserError, match="not quantized: it has no DequantizeLinear and Quantize"):
        qdq.normal(model)


@pytest.mark.parametrize("opset", [10, 19, 21])
def test_pairs_of_any_opset_become_13(opset: int) -> None:
    given = ModelProto.FromString(qdq_model(per_channel=opset > 10))
    for entry in given.opset_import:
        entry.version = opset
    if opset == 10:  # no int32 there yet
        return
    for node in given.graph.node:
        if node.op_type == "QuantizeLinear":
            node.attribute.append(helper.make_attribute("saturate", 1))
    made = set_opset(ModelProto.FromString(given.SerializeToString()), 13)
    assert np.array_equal(computed(edit.dump(made)), computed(qdq_model()))
    given.graph.node[0].attribute[0].i = 0
    if opset >= 19:
        with pytest.raises(Exception, match="means something else in opset 13"):
            set_opset(given, 13)
