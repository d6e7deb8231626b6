"""What onnxruntime's integer kernels can compute of a quantized model, and with which types fast.

Which processors they are exact on is the agent's to know (`agents.host.arithmetic`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from orchestrator.graphs import edit

_PAIR = ("QuantizeLinear", "DequantizeLinear")
_WEIGHTED = ("Conv", "Gemm", "MatMul")

SAME_LEVELS = frozenset(
    {
        *("Abs", "Add", "BatchNormalization", "Clip", "Concat", "DepthToSpace"),
        *("Div", "Elu", "Exp", "Flatten", "Floor", "GlobalAveragePool", "GlobalMaxPool"),
        *("HardSigmoid", "Identity", "LeakyRelu", "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu"),
        *("Pad", "ReduceMean", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Squeeze", "Sub"),
        *("Tanh", "Transpose", "Unsqueeze"),
    }
)
"""Operators that give the same levels fused and not, besides those of weights; the tests compare
each. Softmax is none, whose kernel is a level off at some values, nor AveragePool, whose kernel
counts otherwise with `ceil_mode`."""

_INT32 = 2**31
_MOST_APART = 1e6
"""The ratio of two scales of a file. Kernels convert to int32 between them, and wrap beyond it
(seen from 8e6 on) where a QuantizeLinear saturates."""


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
    """Whether each layer of a QDQ model sums integers alone, as kernels do, and there is one.

    Then integer kernels compute what the file says. That is where all weights are quantized, by
    output channel or as a whole; where a bias is int32 in units of both scales and no sum leaves
    int32; where nothing but a QuantizeLinear reads a sum; and where both ends of a pair say the
    same. Other weights and biases onnxruntime quantizes by scales of its own, or misreads.
    """
    graph = ModelProto.FromString(model).graph
    view = _View(graph)
    layers = [node for node in graph.node if node.op_type in _WEIGHTED]
    others = {node.op_type for node in graph.node} - {*_PAIR, *_WEIGHTED}
    if not layers or not others <= SAME_LEVELS:
        return False
    return view.pairs_agree() and all(view.sums_integers(layer) for layer in layers)


class _View:
    """A graph's constants, and what makes and reads its tensors."""

    def __init__(self, graph: GraphProto) -> None:
        self._nodes = graph.node
        self._constants = edit.initializers(graph)
        self._makers = {name: node for node in graph.node for name in node.output}
        self._readers = edit.consumers(graph)

    def pairs_agree(self) -> bool:
        """Whether all scales are near enough to each other, and those of a pair's ends equal."""
        nodes = [node for node in self._nodes if node.op_type in _PAIR]
        if any(name not in self._constants for node in nodes for name in node.input[1:]):
            return False
        for node in nodes:
            maker = self._makers.get(node.input[0])
            if maker is not None and maker.op_type == "QuantizeLinear":
                same_scale = np.array_equal(self._scale(node), self._scale(maker))
                if not same_scale or not np.array_equal(self._zero(node), self._zero(maker)):
                    return False
        scales = [self._scale(node) for node in nodes if node.op_type == "QuantizeLinear"]
        single = [float(scale) for scale in scales if scale.size == 1]
        return not single or max(single) <= _MOST_APART * min(single)

    def sums_integers(self, layer: NodeProto) -> bool:
        """Whether kernels sum what one layer says."""
        data, weight = (self._makers.get(name) for name in layer.input[:2])
        if data is None or weight is None:
            return False
        if {data.op_type, weight.op_type} != {"DequantizeLinear"}:
            return False
        integers = self._integers(weight)
        if integers is None or self._integers(data) is not None or self._scale(data).size != 1:
            return False
        axis = _output_axis(layer, integers.ndim)
        if axis is None or not self._by_output_channel(weight, integers, axis):
            return False
        readers = self._readers.get(layer.output[0], [])
        if any(reader.op_type != "QuantizeLinear" for reader in readers):
            return False
        bias = self._bias(layer, data, weight)
        return bias is not None and self._fits(weight, integers, axis, bias)

    def _by_output_channel(
        self, weight: NodeProto, integers: npt.NDArray[np.generic], axis: int
    ) -> bool:
        """Whether a weight has one scale, or one an output channel."""
        count = self._scale(weight).size
        if count == 1:
            return True
        said = edit.scale_axis(weight, integers.ndim)
        return said == axis and count == integers.shape[axis]

    def _bias(
        self, layer: NodeProto, data: NodeProto, weight: NodeProto
    ) -> npt.NDArray[np.int64] | None:
        """A layer's bias in units of both scales, (channels,), or (1,) of 0 where it has none.

        None when it is in other units, or no int32.
        """
        if len(layer.input) < 3 or not layer.input[2]:
            return np.zeros(1, np.int64)
        node = self._makers.get(layer.input[2])
        stored = None if node is None else self._constants.get(node.input[0])
        if node is None or node.op_type != "DequantizeLinear" or stored is None:
            return None
        integers, own = numpy_helper.to_array(stored), self._scale(node)
        wanted = self._scale(data).reshape(()) * self._scale(weight)
        if integers.dtype != np.int32 or integers.ndim != 1 or self._zero(node).any():
            return None
        if own.size not in (1, wanted.size) and wanted.size != 1:
            return None
        near = np.allclose(own.reshape(-1), wanted.reshape(-1), rtol=1e-6, atol=0)
        return integers.astype(np.int64) if near else None

    def _fits(
        self,
        weight: NodeProto,
        integers: npt.NDArray[np.generic],
        axis: int,
        bias: npt.NDArray[np.int64],
    ) -> bool:
        """Whether no activation of 8 bits makes a sum that 32 bits cannot hold."""
        rows = np.moveaxis(integers, axis, 0).reshape(integers.shape[axis], -1).astype(np.int64)
        zeros = self._zero(weight).astype(np.int64).reshape(-1, 1)
        largest = np.abs(rows - zeros).sum(axis=1) * 255 + np.abs(bias)
        return bool(largest.max() < _INT32)

    def _integers(self, node: NodeProto) -> npt.NDArray[np.generic] | None:
        """The int8 or uint8 constant that a DequantizeLinear takes; None where it takes none."""
        stored = self._constants.get(node.input[0])
        if stored is not None:
            values = np.asarray(numpy_helper.to_array(stored))
            return values if values.dtype in (np.int8, np.uint8) else None
        maker = self._makers.get(node.input[0])
        source = None if maker is None else self._constants.get(maker.input[0])
        if maker is None or source is None or maker.op_type != "QuantizeLinear":
            return None
        scale, zero = self._scale(maker), self._zero(maker)
        values = np.asarray(numpy_helper.to_array(source))
        if scale.size > 1:
            shape = [1] * values.ndim
            shape[edit.scale_axis(maker, values.ndim)] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        low, high = (-128, 127) if zero.dtype == np.int8 else (0, 255)
        levels = np.rint(values / scale) + zero.astype(np.float64)
        return np.asarray(np.clip(levels, low, high).astype(zero.dtype))

    def _scale(self, node: NodeProto) -> npt.NDArray[np.float64]:
        return edit.value(self._constants[node.input[1]])

    def _zero(self, node: NodeProto) -> npt.NDArray[np.generic]:
        return _zero(node, self._constants, self._makers)


def _output_axis(layer: NodeProto, rank: int) -> int | None:
    """The axis of a weight's output channels; None where kernels know no such weight."""
    if layer.op_type == "Conv":
        return 0 if rank >= 3 else None
    if rank != 2:
        return None
    attributes = edit.attributes(layer)
    if attributes.get("transA") or attributes.get("alpha", 1) != 1:
        return None
    if attributes.get("beta", 1) != 1:
        return None
    return 0 if attributes.get("transB") else 1


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
    makers = {first.output[0]: first}
    zeros = [_zero(node, constants, makers) for node in nodes]
    if first.op_type == "DequantizeLinear":
        stored = numpy_helper.to_array(constants[first.input[0]])
        first.input[0] = _added(graph, f"{first.input[0]}.moved", stored, by)
    names: dict[bytes, str] = {}  # both ends of a pair say the same nearly always
    for node, zero in zip(nodes, zeros, strict=True):
        name = names.get(zero.tobytes())
        if name is None:
            name = names[zero.tobytes()] = _added(graph, f"{node.output[0]}.zero.moved", zero, by)
        del node.input[2:]
        node.input.append(name)


def _zero(
    node: NodeProto, constants: dict[str, TensorProto], makers: dict[str, NodeProto]
) -> npt.NDArray[np.generic]:
    """The zero point of a node, which is 0 where it is left out."""
    if len(node.input) > 2 and node.input[2]:
        return np.asarray(numpy_helper.to_array(constants[node.input[2]]))
    shape = tuple(constants[node.input[1]].dims)
    stored, maker = constants.get(node.input[0]), makers.get(node.input[0])
    if node.op_type == "DequantizeLinear" and stored is not None:
        return np.zeros(shape, numpy_helper.to_array(stored).dtype)
    if node.op_type == "DequantizeLinear" and maker is not None and len(maker.input) > 2:
        return np.zeros(shape, numpy_helper.to_array(constants[maker.input[2]]).dtype)
    return np.zeros(shape, np.uint8)


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
