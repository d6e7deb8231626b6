"""What onnxruntime's integer kernels can compute of a quantized model, and with which types fast.

Which processors they are exact on is the agent's to know (`agents.host.arithmetic`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from orchestrator.graphs import edit

_PAIR = ("QuantizeLinear", "DequantizeLinear")
_WEIGHTED = ("Conv", "Gemm", "MatMul")

KEPT_EXACTLY = frozenset(
    {
        *("Abs", "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "DepthToSpace"),
        *("Div", "Elu", "Exp", "Flatten", "Floor", "GlobalAveragePool", "GlobalMaxPool"),
        *("HardSigmoid", "Identity", "LeakyRelu", "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu"),
        *("Pad", "ReduceMean", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Squeeze", "Sub"),
        *("Tanh", "Transpose", "Unsqueeze"),
    }
)
"""Operators that give the same levels fused and not, besides those of weights; the tests compare
each. Softmax is none: its kernel is a level off at some values."""


def for_kernels(model: bytes) -> bytes:
    """A QDQ model of uint8 activations and int8 weights, which are fused and multiplied fastest.

    It computes the same values: integers and zero point move by 128 together. Kernels for two
    uint8 take twice the time, and layers between an int8 and a uint8 activation stay unfused.

    Args:
        model: with weights as integers behind a DequantizeLinear, or as float32 behind a pair.
    """
    proto = ModelProto.FromString(model)
    graph = proto.graph
    constants, readers = edit.initializers(graph), edit.consumers(graph)
    for node in graph.node:
        pair = _pair(node, constants, readers)
        if pair and _dtype(pair[0], constants) == TensorProto.UINT8:
            _move(graph, pair, constants, -128)
        ends = _ends(node, graph, constants, readers)
        if ends and _dtype(node, constants) == TensorProto.INT8:
            _move(graph, [node, *ends], constants, 128)
    edit.drop_unused_initializers(graph)
    del graph.value_info[:]
    return edit.dump(proto)


def sums_integers(model: bytes) -> bool:
    """Whether each layer of a QDQ model sums integers alone, and there is one.

    That is where all weights are quantized and each bias is int32 in units of both scales, so that
    integer kernels compute what the file says. Other weights and biases onnxruntime would quantize
    by scales of its own before it fuses a layer.
    """
    graph = ModelProto.FromString(model).graph
    constants = edit.initializers(graph)
    makers = {name: node for node in graph.node for name in node.output}
    layers = [node for node in graph.node if node.op_type in _WEIGHTED]
    others = {node.op_type for node in graph.node} - {*_PAIR, *_WEIGHTED}
    summed = (_sums_integers(layer, makers, constants) for layer in layers)
    return bool(layers) and others <= KEPT_EXACTLY and all(summed)


def _sums_integers(
    layer: NodeProto, makers: dict[str, NodeProto], constants: dict[str, TensorProto]
) -> bool:
    left, right = (makers.get(name) for name in layer.input[:2])
    if left is None or right is None or {left.op_type, right.op_type} != {"DequantizeLinear"}:
        return False
    has_bias = len(layer.input) > 2
    return not has_bias or _in_units(makers.get(layer.input[2]), left, right, constants)


def _in_units(
    bias: NodeProto | None, left: NodeProto, right: NodeProto, constants: dict[str, TensorProto]
) -> bool:
    """Whether a bias is int32 times the scales of both sides."""
    if bias is None or bias.op_type != "DequantizeLinear" or bias.input[0] not in constants:
        return False
    scales = [constants.get(each.input[1]) for each in (bias, left, right)]
    integers = numpy_helper.to_array(constants[bias.input[0]])
    if None in scales or integers.dtype != np.int32 or _zero(bias, constants).any():
        return False
    own, *both = (edit.value(scale) for scale in scales if scale is not None)
    return bool(np.allclose(own, both[0] * both[1], rtol=1e-6, atol=0))


def _pair(
    node: NodeProto, constants: dict[str, TensorProto], readers: dict[str, list[NodeProto]]
) -> list[NodeProto]:
    """What makes a weight of a constant, beginning with `node`; empty when that does not."""
    if node.op_type not in _PAIR or node.input[0] not in constants:
        return []
    pair = [node]
    following = readers.get(node.output[0], [])
    if node.op_type == "QuantizeLinear":
        if len(following) != 1 or following[0].op_type != "DequantizeLinear":
            return []
        pair += following
        following = readers.get(pair[-1].output[0], [])
    used = [(reader.op_type, list(reader.input).index(pair[-1].output[0])) for reader in following]
    is_weight = bool(used) and all(kind in _WEIGHTED and at == 1 for kind, at in used)
    scales_known = all(name in constants for each in pair for name in each.input[1:])
    return pair if is_weight and scales_known else []


def _ends(
    node: NodeProto,
    graph: GraphProto,
    constants: dict[str, TensorProto],
    readers: dict[str, list[NodeProto]],
) -> list[NodeProto]:
    """What dequantizes an activation that `node` quantizes; empty when something else reads it."""
    if node.op_type != "QuantizeLinear" or node.input[0] in constants:
        return []
    ends = readers.get(node.output[0], [])
    known = all(name in constants for each in (node, *ends) for name in each.input[1:])
    alone = all(end.op_type == "DequantizeLinear" for end in ends)
    is_output = any(output.name == node.output[0] for output in graph.output)
    return ends if known and alone and not is_output else []


def _move(
    graph: GraphProto, nodes: list[NodeProto], constants: dict[str, TensorProto], by: int
) -> None:
    """Give a pair's constants the other 8-bit type. They are copied: others may read the old."""
    first = nodes[0]
    zero = _zero(first, constants)
    if first.op_type == "DequantizeLinear":
        stored = numpy_helper.to_array(constants[first.input[0]])
        first.input[0] = _added(graph, f"{first.input[0]}.moved", stored, by)
    moved = _added(graph, f"{first.output[0]}.zero.moved", zero, by)
    for node in nodes:
        del node.input[2:]
        node.input.append(moved)


def _zero(node: NodeProto, constants: dict[str, TensorProto]) -> npt.NDArray[np.generic]:
    """The zero point of a node, which is 0 where it is left out."""
    if len(node.input) > 2 and node.input[2]:
        return np.asarray(numpy_helper.to_array(constants[node.input[2]]))
    dtype = helper.tensor_dtype_to_np_dtype(_dtype(node, constants))
    return np.zeros(tuple(constants[node.input[1]].dims), dtype)


def _dtype(node: NodeProto, constants: dict[str, TensorProto]) -> int:
    """The type of the integers that the first node of a pair takes or makes."""
    if node.op_type == "DequantizeLinear":
        return int(constants[node.input[0]].data_type)
    has_zero = len(node.input) > 2 and node.input[2]
    return int(constants[node.input[2]].data_type) if has_zero else TensorProto.UINT8


def _added(graph: GraphProto, name: str, array: npt.NDArray[np.generic], by: int) -> str:
    name = edit.fresh_name(graph, name)
    moved = (array.astype(np.int16) + by).astype(np.uint8 if by > 0 else np.int8)
    graph.initializer.append(numpy_helper.from_array(np.array(moved, order="C"), name))
    return name
