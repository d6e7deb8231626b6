"""ONNX files that are quantized already: what their QuantizeLinear and DequantizeLinear say.

Such a file comes from quantization-aware training, or from somebody else's quantizer. Its scales
are its own: nothing here changes a value that it computes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from orchestrator.errors import UserError
from orchestrator.graphs import edit
from orchestrator.graphs.prepare import check_input, check_weights, drop_constant_inputs, name_nodes
from orchestrator.graphs.stamp import strip_domains

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
AS_GIVEN = "as given"

# Operators that hold integers themselves: another format than QDQ, or scales found while running.
_OTHERS = ("ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul")
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_CENTRE = {"int8": 0, "uint8": 128}


@dataclass(frozen=True)
class QdqFacts:
    """What a file says of its quantization; `AS_GIVEN` where it says more than one thing.

    Attributes:
        dtype: int8 or uint8, of activations and weights.
        granularity: per-channel or per-tensor, of the weights of convolutions and products.
        symmetry: symmetric when every activation's zero point is the middle of its type.
        layers, quantized: how many convolutions and products there are, and how many of them
            have both input and weight quantized.
    """

    dtype: str
    granularity: str
    symmetry: str
    layers: int
    quantized: int

    @property
    def words(self) -> str:
        """As a person says it: `int8 per-channel symmetric, 30 of 31 layers`."""
        axes = (self.dtype, self.granularity, self.symmetry)
        scheme = " ".join(axis for axis in axes if axis != AS_GIVEN) or "mixed"
        return f"{scheme}, {self.quantized} of {self.layers} layers quantized"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Pair:
    """A DequantizeLinear: of a constant, or of an activation."""

    node: NodeProto
    dtype: str
    scale: npt.NDArray[np.float32]
    zero: npt.NDArray[np.int64]
    is_constant: bool


def normal(model: bytes) -> bytes:
    """A QDQ file as toolchains take it: constants as initializers, nodes named; values as given.

    Args:
        model: an ONNX file with one float32 input [N or 1, 3, H, W].

    Raises:
        UserError: not ONNX, not quantized, quantized in another format, another type than int8 and
            uint8, an operator outside ONNX's own set, damaged weights.
    """
    proto = edit.load(model, "the quantized file")
    _check_operators(proto)
    drop_constant_inputs(proto)
    _constants_inside(proto.graph)
    check_input(proto)
    check_weights(proto)
    name_nodes(proto)
    del proto.graph.value_info[:]
    strip_domains(proto)
    _pairs(proto.graph)
    return edit.dump(proto)


def facts(model: bytes) -> QdqFacts:
    """What a file of `normal` says of itself.

    Raises:
        UserError: as `normal`.
    """
    graph = onnx.ModelProto.FromString(model).graph
    pairs = {pair.node.output[0]: pair for pair in _pairs(graph)}
    layers = [node for node in graph.node if node.op_type in _WEIGHTED]
    weights, quantized = [], 0
    for node in layers:
        sides = [pairs[name] for name in node.input[:2] if name in pairs]
        weights += [pair for pair in sides if pair.is_constant]
        quantized += len(sides) == 2
    activations = [pair for pair in pairs.values() if not pair.is_constant]
    return QdqFacts(
        dtype=_one(pair.dtype for pair in (*weights, *activations)),
        granularity=_one("per-channel" if p.scale.size > 1 else "per-tensor" for p in weights),
        symmetry=_symmetry(activations),
        layers=len(layers),
        quantized=quantized,
    )


def explicit(model: bytes) -> bytes:
    """The same values as TensorRT wants them said: float32 weights behind a pair, float biases.

    Weights that are stored as integers become float32 constants with a QuantizeLinear that gives
    the same integers; what else is stored so (biases, slopes) becomes the float32 constant that
    its DequantizeLinear gives.
    """
    proto = onnx.ModelProto.FromString(model)
    graph = proto.graph
    constants = edit.initializers(graph)
    readers = edit.consumers(graph)
    nodes: list[NodeProto] = []
    for node in graph.node:
        stored = constants.get(node.input[0]) if node.op_type == DEQUANTIZE else None
        if stored is None:
            nodes.append(node)
            continue
        values = _dequantized(node, stored, constants)
        name = edit.fresh_name(graph, f"{node.output[0]}_float")
        if not _is_weight(node.output[0], readers):
            graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            continue
        graph.initializer.append(numpy_helper.from_array(values, name))
        axis = edit.scale_axis(node, len(stored.dims))
        names = [node.input[1], _zero_name(node, stored, constants, graph)]
        between = edit.fresh_name(graph, f"{node.output[0]}_quantized")
        # Equal attributes, so that both ends of the pair say the same.
        nodes.append(
            helper.make_node(QUANTIZE, [name, *names], [between], f"{between}_q", axis=axis)
        )
        pair = helper.make_node(
            DEQUANTIZE, [between, *names], list(node.output), node.name, axis=axis
        )
        nodes.append(pair)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    edit.drop_unused_initializers(graph)
    return edit.dump(proto)


def _check_operators(proto: ModelProto) -> None:
    found = set()
    edit.check_repeatable(proto.graph)
    for node in proto.graph.node:
        found.add(node.op_type)
        if node.op_type in _OTHERS or node.op_type.startswith("QLinear"):
            raise UserError(
                f"{edit.label(node)}: the file holds integers in its operators, expected "
                f"{QUANTIZE} and {DEQUANTIZE} around float ones (QDQ)",
                "export it in the QDQ format",
            )
        edit.check_plain(node)
    if not {QUANTIZE, DEQUANTIZE} <= found:
        lacking = " and ".join(sorted({QUANTIZE, DEQUANTIZE} - found))
        raise UserError(
            f"the file is not quantized: it has no {lacking}",
            "give the file that quantization-aware training exported, or leave `quantized:` out",
        )


def _constants_inside(graph: GraphProto) -> None:
    """Constant nodes become initializers, and an Identity of a constant the constant itself."""
    constants = edit.initializers(graph)
    outputs = {output.name for output in graph.output}
    gone: list[NodeProto] = []
    for node in graph.node:
        value = edit.attributes(node).get("value") if node.op_type == "Constant" else None
        if node.op_type == "Identity" and node.output[0] not in outputs:
            value = constants.get(node.input[0])
        if not isinstance(value, TensorProto):
            continue
        tensor = TensorProto()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        graph.initializer.append(tensor)
        constants[tensor.name] = tensor
        gone.append(node)
    if gone:
        edit.remove_nodes(graph, gone)
        edit.drop_unused_initializers(graph)


def _pairs(graph: GraphProto) -> list[_Pair]:
    """Every DequantizeLinear of int8 and uint8, in order; biases of int32 are left out.

    Raises:
        UserError: another type, or a scale that is no positive constant.
    """
    constants = edit.initializers(graph)
    makers = {node.output[0]: node for node in graph.node if node.op_type == QUANTIZE}
    found = []
    for node in graph.node:
        if node.op_type not in (QUANTIZE, DEQUANTIZE):
            continue
        if any(name not in constants for name in node.input[1:]):
            raise UserError(
                f"{edit.label(node)}: scale or zero point is not a constant",
                "export the file after training, with its scales fixed",
            )
        scale = np.asarray(numpy_helper.to_array(constants[node.input[1]]))
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise UserError(f"{edit.label(node)}: a scale is not a positive number")
        zero = _zero(node, constants)
        if node.op_type == QUANTIZE:
            _require_byte(node, "uint8" if zero is None else str(zero.dtype))
            continue
        stored, maker = constants.get(node.input[0]), makers.get(node.input[0])
        source = zero if zero is not None else None if maker is None else _zero(maker, constants)
        if stored is not None:
            dtype = str(numpy_helper.to_array(stored).dtype)
        else:
            dtype = "uint8" if source is None else str(source.dtype)
        if stored is not None and dtype == "int32":
            continue
        _require_byte(node, dtype)
        is_constant = stored is not None or (maker is not None and maker.input[0] in constants)
        zeros = np.zeros(1) if zero is None else zero
        found.append(_Pair(node, dtype, scale, zeros.astype(np.int64), is_constant))
    return found


def _require_byte(node: NodeProto, dtype: str) -> None:
    if dtype not in _CENTRE:
        raise UserError(
            f"{edit.label(node)}: the type is {dtype}, expected int8 or uint8",
            "no toolchain here takes another type",
        )


def _symmetry(activations: Iterable[_Pair]) -> str:
    centred = [bool((pair.zero == _CENTRE[pair.dtype]).all()) for pair in activations]
    if not centred:
        return AS_GIVEN
    return "symmetric" if all(centred) else "asymmetric"


def _one(words: Iterable[str]) -> str:
    found = set(words)
    return found.pop() if len(found) == 1 else AS_GIVEN


def _zero(node: NodeProto, constants: dict[str, TensorProto]) -> npt.NDArray[Any] | None:
    if len(node.input) < 3 or not node.input[2]:
        return None
    return np.asarray(numpy_helper.to_array(constants[node.input[2]]))


def _zero_name(
    node: NodeProto, stored: TensorProto, constants: dict[str, TensorProto], graph: GraphProto
) -> str:
    """The name of a pair's zero point, which is made where the file left it out."""
    if len(node.input) > 2 and node.input[2]:
        return str(node.input[2])
    shape = tuple(constants[node.input[1]].dims)
    dtype = np.asarray(numpy_helper.to_array(stored)).dtype
    name = edit.fresh_name(graph, f"{node.output[0]}_zero")
    graph.initializer.append(numpy_helper.from_array(np.zeros(shape, dtype), name))
    return name


def _dequantized(
    node: NodeProto, stored: TensorProto, constants: dict[str, TensorProto]
) -> npt.NDArray[np.float32]:
    """What a DequantizeLinear gives of a constant, in float32 as it is defined."""
    values = np.asarray(numpy_helper.to_array(stored)).astype(np.int64)
    scale = np.asarray(numpy_helper.to_array(constants[node.input[1]])).astype(np.float32)
    zero = _zero(node, constants)
    zeros = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    if scale.size > 1:
        shape = [1] * values.ndim
        shape[edit.scale_axis(node, values.ndim)] = -1
        scale, zeros = scale.reshape(shape), zeros.reshape(shape)
    else:
        scale, zeros = scale.reshape(()), zeros.reshape(())
    return np.asarray((values - zeros).astype(np.float32) * scale, np.float32)


def _is_weight(name: str, readers: dict[str, list[NodeProto]]) -> bool:
    """Whether a constant is the weight of a convolution or product, and of nothing else."""
    used = readers.get(name, [])
    return bool(used) and all(node.op_type in _WEIGHTED and name in node.input[:2] for node in used)
