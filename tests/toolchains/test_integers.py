"""Which files integer kernels may compute, and that other 8-bit types compute the same bits."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from orchestrator.agents.host.arithmetic import exact_integers
from orchestrator.calibration import calibrate
from orchestrator.graphs import integers, sessions
from orchestrator.graphs.sessions import faithful_session
from orchestrator.toolchains import twin_toolchain
from tests.toolchains import nets
from tests.toolchains.test_twins import CASES, U8, table

QEMU = "qemu-x86_64-static"


def twin(vendor: str, scheme: object) -> tuple[bytes, bytes]:
    """What `quantize` makes, with the vendor's weights, and what is executed."""
    chain = twin_toolchain(vendor)
    quantized = chain.quantize(nets.iresnet(), table(), scheme).data
    return quantized, chain.convert(quantized).data


def fused(model: bytes, batch: np.ndarray) -> np.ndarray:
    """Features by onnxruntime's integer kernels."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in batch])


def types(model: bytes) -> tuple[set[str], set[str]]:
    """Types of activations, and of the weights of convolutions and products."""
    graph = ModelProto.FromString(model).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    weights = {str(constants[makers[layer.input[1]].input[2]].dtype) for layer in layers}
    activations = {
        str(constants[node.input[2]].dtype)
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants
    }
    return activations, weights


@pytest.mark.parametrize(("vendor", "scheme"), CASES, ids=str)
def test_a_twin_has_the_kernels_types_and_its_vendors_bits(vendor, scheme):
    own, made = twin(vendor, scheme)
    assert types(own) == ({scheme.dtype}, {scheme.dtype})
    assert types(made) == types(own) if vendor == "tensorrt" else ({"uint8"}, {"int8"})
    onnx.checker.check_model(onnx.load_model_from_string(made), full_check=True)
    batch = nets.images(6, seed=5)
    assert nets.run(made, batch).tobytes() == nets.run(own, batch).tobytes()
    again = integers.for_kernels(made)
    assert types(again) == ({"uint8"}, {"int8"})
    assert nets.run(again, batch).tobytes() == nets.run(own, batch).tobytes()


@pytest.mark.parametrize(("vendor", "scheme"), CASES, ids=str)
def test_integer_kernels_compute_what_a_file_of_integer_sums_says(vendor, scheme):
    """TensorRT's biases are float32, which onnxruntime's kernels would round to int32."""
    own, made = twin(vendor, scheme)
    found = integers.sums_integers(made)
    assert found is (vendor != "tensorrt")
    assert twin_toolchain(vendor).convert(own).manifest["integer_sums"] == (found or None)
    if found and exact_integers():
        batch = nets.images(12, seed=5)
        cosines = nets.cosines(fused(made, batch), nets.run(made, batch))
        assert np.median(cosines) > 0.9999, "only a value between two levels may fall elsewhere"
        assert fused(made, batch).tobytes() == fused(own, batch).tobytes()


def test_a_float_model_stays_as_it_is():
    model = twin_toolchain("tengine").convert(nets.iresnet()).data
    assert integers.for_kernels(model) == model
    assert not integers.sums_integers(model)


def layer(
    weight: np.ndarray,
    zero: int | None,
    bias: tuple[np.ndarray, float | None] = (np.arange(3, dtype=np.int32), 0.5),
    *,
    summed: bool = False,
) -> bytes:
    """A Gemm of uint8 in units of 2 and a weight in units of 0.25.

    Args:
        bias: and its units; None for float32.
        summed: something else reads the weight, too.
    """
    constants = {"w.q": weight, "w.scale": np.float32(0.25)}
    if zero is not None:
        constants["w.zero"] = np.asarray(zero, weight.dtype)
    constants |= {"x.scale": np.float32(2), "x.zero": np.uint8(9)}
    parts = [name for name in constants if name.startswith("w")]
    nodes = [
        helper.make_node("DequantizeLinear", parts, ["w"]),
        helper.make_node("QuantizeLinear", ["data", "x.scale", "x.zero"], ["x.q"]),
        helper.make_node("DequantizeLinear", ["x.q", "x.scale", "x.zero"], ["x"]),
    ]
    values, units = bias
    constants["b" if units is None else "b.q"] = values
    if units is not None:
        constants["b.scale"] = np.float32(units)
        nodes.append(helper.make_node("DequantizeLinear", ["b.q", "b.scale"], ["b"]))
    nodes.append(helper.make_node("Gemm", ["x", "w", "b"], ["y" if summed else "out"], transB=1))
    if summed:
        nodes.append(helper.make_node("ReduceSum", ["w"], ["sum"], keepdims=0))
        nodes.append(helper.make_node("Add", ["y", "sum"], ["out"]))
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=7).SerializeToString()


def computed(model: bytes) -> bytes:
    session = faithful_session(model, threads=1, optimize=False)
    return session.run(None, {"data": np.float32([[-20, 3, 55, 400]])})[0].tobytes()


UINT8 = np.arange(12, dtype=np.uint8).reshape(3, 4) * 23
INT8 = (UINT8.astype(int) - 128).astype(np.int8)


@pytest.mark.parametrize(("zero", "moved"), [(200, 72), (0, -128), (None, -128)])
def test_integers_and_zero_point_move_together(zero, moved):
    model = layer(UINT8, zero)
    made = integers.for_kernels(model)
    assert types(made) == ({"uint8"}, {"int8"})
    assert computed(made) == computed(model)
    graph = ModelProto.FromString(made).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (node,) = (node for node in graph.node if node.output[0] == "w")
    assert constants[node.input[2]] == moved
    assert "w.q" not in constants, "the old weights are gone"
    assert integers.sums_integers(model)
    assert integers.sums_integers(made)


@pytest.mark.parametrize("zero", [0, None])
def test_int8_stays(zero):
    model = layer(INT8, zero)
    assert integers.for_kernels(model) == model
    assert integers.sums_integers(model)


def test_a_constant_that_something_else_reads_stays():
    model = layer(UINT8, 200, summed=True)
    assert integers.for_kernels(model) == model


@pytest.mark.parametrize(
    "bias", [(np.arange(3, dtype=np.int32), 0.25), (np.ones(3, np.float32), None)], ids=str
)
def test_a_bias_that_integer_kernels_would_change_is_found(bias):
    """In other units than both scales, and in float32."""
    assert not integers.sums_integers(layer(UINT8, 200, bias=bias))


def test_a_layer_left_in_float_is_found():
    """onnxruntime would quantize its weights before it fuses the layer."""
    kept = replace(U8, keep_float=("conv1",))
    chain = twin_toolchain("rknn1")
    made = chain.convert(chain.quantize(nets.iresnet(), table(), kept).data)
    assert made.manifest["integer_sums"] is None
    (layer,) = (n for n in ModelProto.FromString(made.data).graph.node if n.name == "conv1")
    assert layer.input[1] == "conv1.w"


# Operator to its attributes, and to what it reads besides activations.
CASES_OF_ONE: dict[str, tuple[dict[str, object], list[np.ndarray]]] = {
    **{
        name: ({}, [])
        for name in (
            *("Abs", "Elu", "Exp", "Flatten", "Floor", "GlobalAveragePool", "GlobalMaxPool"),
            *("HardSigmoid", "Identity", "LeakyRelu", "Neg", "Relu", "Sigmoid", "Tanh"),
        )
    },
    "BatchNormalization": ({}, [np.linspace(0.5, 1.5, 8, dtype=np.float32)] * 4),
    "Clip": ({}, [np.float32(-0.7), np.float32(1.3)]),
    "DepthToSpace": ({"blocksize": 2}, []),
    "MaxPool": ({"kernel_shape": [2, 2], "strides": [2, 2]}, []),
    "PRelu": ({}, [np.linspace(-0.1, 0.4, 8, dtype=np.float32).reshape(8, 1, 1)]),
    "Pad": ({}, [np.int64([0, 0, 1, 1, 0, 0, 1, 1])]),
    "ReduceMean": ({"axes": [2, 3]}, []),
    "Reshape": ({}, [np.int64([1, -1])]),
    "Resize": ({"mode": "linear"}, [np.float32([]), np.float32([1, 1, 2, 2])]),
    "Slice": ({}, [np.int64([2]), np.int64([9]), np.int64([2])]),
    "Squeeze": ({}, [np.int64([0])]),
    "Transpose": ({"perm": [0, 2, 3, 1]}, []),
    "Unsqueeze": ({}, [np.int64([1])]),
}
CASES_OF_TWO = ("Add", "Concat", "Div", "Max", "Min", "Mul", "Sub")


def quantized_operator(name: str, random: np.random.Generator) -> tuple[bytes, int, float]:
    """An operator between pairs of random parameters, how many it reads, and the last's scale."""
    attributes, more = CASES_OF_ONE.get(name, ({"axis": 1} if name == "Concat" else {}, []))
    activations = 2 if name in CASES_OF_TWO else 1
    constants, nodes, read = [], [], []
    last = (random.uniform(0.01, 0.06), random.integers(0, 256))

    def paired(source: str, target: str, scale: float, zero: int) -> None:
        names = [f"{target}.scale", f"{target}.zero"]
        constants.append(numpy_helper.from_array(np.float32(scale), names[0]))
        constants.append(numpy_helper.from_array(np.uint8(zero), names[1]))
        nodes.append(helper.make_node("QuantizeLinear", [source, *names], [f"{target}.q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{target}.q", *names], [target]))

    for number in range(activations):
        # The same parameters before and behind are where pairs are dropped.
        same = random.random() < 0.3
        own = last if same else (random.uniform(0.01, 0.05), random.integers(0, 256))
        paired(f"x{number}", f"a{number}", *own)
        read.append(f"a{number}")
    for number, value in enumerate(more):
        constants.append(numpy_helper.from_array(np.asarray(value), f"c{number}"))
        read.append(f"c{number}")
    nodes.append(helper.make_node(name, read, ["raw"], **attributes))
    paired("raw", "out", *last)
    shapes = [
        helper.make_tensor_value_info(f"x{number}", TensorProto.FLOAT, [1, 8, 12, 12])
        for number in range(activations)
    ]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "one", shapes, outputs, constants)
    opsets = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=7)
    return model.SerializeToString(), activations, last[0]


@pytest.mark.parametrize("name", sorted(integers.SAME_LEVELS))
def test_an_operator_gives_the_same_levels_fused_and_not(name, monkeypatch):
    monkeypatch.setattr(sessions, "exact_integers", lambda: True)
    random = np.random.default_rng(3)
    off = count = 0
    for _ in range(12):
        model, activations, step = quantized_operator(name, random)
        given = {
            f"x{number}": random.normal(0, 2, (1, 8, 12, 12)).astype(np.float32)
            for number in range(activations)
        }
        plain = faithful_session(model, threads=1, optimize=False)
        kernels = faithful_session(model, threads=1, integer_sums=True)
        expected, found = (each.run(None, given)[0] for each in (plain, kernels))
        steps = np.abs(found - expected) / step
        # A division by a level of 0 has no result to compare.
        steps = steps[np.isfinite(expected) & np.isfinite(found)]
        assert steps.max() < 1.5
        off, count = off + int((steps > 0.5).sum()), count + steps.size
    assert off <= 2 + count / 1000, "only a value in the middle of two levels may fall elsewhere"


SQUARE = np.arange(64).reshape(8, 8) * 3 - 96
ROWS = np.geomspace(0.001, 0.005, 8).astype(np.float32)


def summed(
    operator: str,
    weight: np.ndarray,
    scale: np.ndarray | float,
    *,
    axis: int | None = None,
    bias: tuple[str, np.ndarray] | None = None,
    **attributes: object,
) -> bytes:
    """data -> uint8 of 0.03 -> an operator with an int8 weight -> uint8, as a file given has it.

    Args:
        axis: of the weight's scales, left out when None.
        bias: `input` of the operator or `Add` behind it, and its values: int32 in units of 0.005,
            or float32.
    """
    zeros = np.zeros(np.shape(scale), np.int8)
    constants = {"s": np.float32(0.03), "z": np.uint8(128), "ws": np.float32(scale), "wz": zeros}
    constants["w.q"] = weight.astype(np.int8)
    more = {} if axis is None else {"axis": axis}
    nodes = [
        helper.make_node("QuantizeLinear", ["data", "s", "z"], ["x.q"]),
        helper.make_node("DequantizeLinear", ["x.q", "s", "z"], ["x"]),
        helper.make_node("DequantizeLinear", ["w.q", "ws", "wz"], ["w"], **more),
    ]
    read, made = ["x", "w"], "r" if bias is None or bias[0] == "input" else "m"
    if bias is not None and bias[1].dtype == np.int32:
        constants |= {"b.q": bias[1], "bs": np.float32(0.005)}
        nodes.append(helper.make_node("DequantizeLinear", ["b.q", "bs"], ["b"]))
    elif bias is not None:
        constants["b"] = bias[1]
    if bias is not None and bias[0] == "input":
        read.append("b")
    nodes.append(helper.make_node(operator, read, [made], **attributes))
    if made == "m":
        nodes.append(helper.make_node("Add", ["m", "b"], ["r"]))
    nodes.append(helper.make_node("QuantizeLinear", ["r", "s", "z"], ["out.q"]))
    nodes.append(helper.make_node("DequantizeLinear", ["out.q", "s", "z"], ["out"]))
    shape = [1, 8, 12, 12] if operator == "Conv" else [4, 8]
    graph = helper.make_graph(
        nodes,
        "summed",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=7).SerializeToString()


KERNEL = SQUARE.reshape(8, 8, 1, 1)
INT32 = (np.arange(8) * 100).astype(np.int32)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (summed("Conv", KERNEL, ROWS, axis=0), True),
        (summed("Conv", KERNEL, ROWS, axis=1), False),
        (summed("Conv", KERNEL, ROWS), False),
        (summed("Gemm", SQUARE, ROWS, axis=1), True),
        (summed("Gemm", SQUARE, ROWS, axis=0), False),
        (summed("Gemm", SQUARE, ROWS, axis=0, transB=1), True),
        (summed("Gemm", SQUARE, 0.003, alpha=0.5), False),
        (summed("MatMul", SQUARE, ROWS, axis=1), True),
        (summed("MatMul", SQUARE, ROWS, axis=0), False),
        (summed("MatMul", SQUARE, 0.003, bias=("Add", INT32)), False),
        (summed("MatMul", SQUARE, 0.003, bias=("Add", np.ones(8, np.float32))), False),
        (summed("Gemm", SQUARE, np.float32(0.005 / 0.03), bias=("input", INT32)), True),
        (
            summed(
                "Gemm",
                SQUARE,
                np.float32(0.005 / 0.03),
                bias=("input", INT32 + (2**31 - 2**10 - 700)),
            ),
            False,
        ),
        (summed("Gemm", SQUARE, 1e-9), True),
    ],
)
def test_what_kernels_would_misread_is_found(model, expected):
    """Scales on another axis than the output channels', a bias behind, sums beyond int32."""
    assert integers.sums_integers(model) is expected
    if expected and exact_integers():
        random = np.random.default_rng(2)
        shape = [
            d.dim_value
            for d in ModelProto.FromString(model).graph.input[0].type.tensor_type.shape.dim
        ]
        data = {"data": random.normal(0, 1.5, shape).astype(np.float32)}
        plain = faithful_session(model, optimize=False).run(None, data)[0]
        kernels = faithful_session(model, integer_sums=True).run(None, data)[0]
        assert (np.abs(plain - kernels) > 0.015).mean() < 0.01


def test_ends_of_a_pair_that_differ_keep_their_zero_points():
    model = ModelProto.FromString(summed("Gemm", SQUARE, 0.003))
    model.graph.initializer.append(numpy_helper.from_array(np.uint8(131), "other"))
    model.graph.node[1].input[2] = "other"
    different = model.SerializeToString()
    assert not integers.sums_integers(different)
    for tensor in model.graph.initializer:  # the same in int8
        if tensor.name in ("z", "other"):
            value = (numpy_helper.to_array(tensor).astype(int) - 128).astype(np.int8)
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), tensor.name))
    signed = model.SerializeToString()
    data = {"data": np.random.default_rng(4).normal(0, 1.5, (4, 8)).astype(np.float32)}
    for each in (signed, integers.for_kernels(signed)):
        found = faithful_session(each, optimize=False).run(None, data)[0]
        np.testing.assert_array_equal(
            found, faithful_session(different, optimize=False).run(None, data)[0]
        )


def test_scales_too_far_apart_are_found():
    model = ModelProto.FromString(summed("Gemm", SQUARE, 0.003))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1e-9), "tiny"))
    for node in model.graph.node[-2:]:
        node.input[1] = "tiny"
    assert not integers.sums_integers(model.SerializeToString())


@pytest.mark.parametrize("operator", ["Softmax", "AveragePool", "ConvTranspose"])
def test_an_operator_whose_kernel_computes_something_else_is_found(operator):
    model = ModelProto.FromString(layer(UINT8, 200))
    model.graph.node[-1].output[0] = "y"
    model.graph.node.append(helper.make_node(operator, ["y"], ["out"]))
    assert not integers.sums_integers(model.SerializeToString())


def test_pairs_one_behind_the_other_both_round():
    """onnxruntime would make one of them, of a scale of its own."""
    values = np.float32([[-6.5, 2.4, 0.49, 3.6]])
    scales = {"a": (1.0, 128), "b": (0.3, 0)}
    constants, nodes, source = [], [], "data"
    for name, (scale, zero) in scales.items():
        names = [f"{name}.scale", f"{name}.zero"]
        constants.append(numpy_helper.from_array(np.float32(scale), names[0]))
        constants.append(numpy_helper.from_array(np.uint8(zero), names[1]))
        nodes.append(helper.make_node("QuantizeLinear", [source, *names], [f"{name}.q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}.q", *names], [name]))
        source = name
    graph = helper.make_graph(
        nodes,
        "pairs",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 4])],
        constants,
    )
    opsets = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=7).SerializeToString()
    expected = np.float32([[0, 7, 0, 13]]) * np.float32(0.3)  # of -6 (even), 2, 0 and 4
    for integer_sums in (False, True):
        session = faithful_session(model, integer_sums=integer_sums)
        np.testing.assert_array_equal(session.run(None, {"data": values})[0], expected)


RUN = """
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession("twin.onnx", options, providers=["CPUExecutionProvider"])
image = np.load("image.npy")
print(session.run(None, {session.get_inputs()[0].name: image})[0].tobytes().hex())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="QEMU's is of this processor")
@pytest.mark.needs(QEMU)
def test_without_vnni_integer_kernels_compute_something_else(tmp_path):
    """So a flag decides (`exact_integers`): onnxruntime has other kernels for QEMU's Haswell."""
    net = nets.Net(0)
    bright = np.full((8, 3, 3, 3), 0.5) * np.linspace(0.2, 1, 8)[:, None, None, None]
    bright[:, 0, 0, 0] = -0.01  # a zero point of uint8 needs 0 within the range
    x = net.node("Conv", "c", ["data", net.constant("c.w", bright)], kernel_shape=[3, 3])
    x = net.node("Flatten", "flat", [x])
    model = net.model(net.gemm("fc", x, 8 * (nets.SIZE - 2) ** 2, 8, transB=1), embedding=8)
    image = np.ones((1, 3, nets.SIZE, nets.SIZE), np.float32)
    chain = twin_toolchain("tengine")
    made = chain.convert(chain.quantize(model, calibrate(model, [image]), U8).data).data
    np.save(tmp_path / "image.npy", image)
    (tmp_path / "twin.onnx").write_bytes(made)
    said = nets.run(made, image).tobytes().hex()
    assert integers.sums_integers(made)

    def by(*before: str) -> str:
        words = [*before, os.path.realpath(sys.executable), "-c", RUN]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return subprocess.check_output(
            words, env=environment, cwd=tmp_path, text=True, timeout=280
        ).strip()

    assert by(QEMU, "-cpu", "Haswell") != said
    if exact_integers():
        assert by() == said
