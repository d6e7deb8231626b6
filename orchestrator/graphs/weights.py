"""The type of quantized weights, by which onnxruntime's integer kernels are exact and fast or not.

A processor decides which of both 8-bit types they add exactly, and which faster
(`agents.host.arithmetic`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from orchestrator.graphs import edit

if TYPE_CHECKING:
    from orchestrator.specs.artifact import WeightType

_PAIR = ("QuantizeLinear", "DequantizeLinear")
_WEIGHTED = ("Conv", "Gemm", "MatMul")


def stored_as(model: bytes, dtype: WeightType) -> bytes:
    """A QDQ model whose weights of convolutions and products are of one 8-bit type.

    It computes the same values: integers and zero point move by 128 together.

    Args:
        model: with weights as integers behind a DequantizeLinear, or as float32 behind a pair.
    """
    proto = ModelProto.FromString(model)
    graph = proto.graph
    constants, readers = edit.initializers(graph), edit.consumers(graph)
    for node in graph.node:
        pair = _pair(node, constants, readers)
        if pair:
            _move(graph, pair, constants, dtype)
    edit.drop_unused_initializers(graph)
    return edit.dump(proto)


def of_integer_sums(model: bytes) -> WeightType | None:
    """The type of the weights of a QDQ model whose every quantized layer sums integers alone.

    That is where each bias is int32 in units of both scales, so that integer kernels compute what
    the file says. None where one adds float32, where types differ, and where nothing is quantized.
    """
    graph = ModelProto.FromString(model).graph
    constants = edit.initializers(graph)
    makers = {name: node for node in graph.node for name in node.output}
    found = set()
    for node in graph.node:
        sides = [makers.get(name) for name in node.input[:2]]
        if node.op_type not in _WEIGHTED or not all(_dequantizes(side) for side in sides):
            continue
        left, right = (side for side in sides if side is not None)
        if len(node.input) > 2 and not _in_units(makers.get(node.input[2]), left, right, constants):
            return None
        found.add(str(_zero(right, constants).dtype))
    only = found.pop() if len(found) == 1 else None
    return "int8" if only == "int8" else "uint8" if only == "uint8" else None


def _dequantizes(node: NodeProto | None) -> bool:
    return node is not None and node.op_type == "DequantizeLinear"


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


def _move(
    graph: GraphProto, pair: list[NodeProto], constants: dict[str, TensorProto], dtype: WeightType
) -> None:
    """Give a pair integers of `dtype`, in place, unless they are of that type or of no 8-bit one.

    Constants are copied: others may read the old ones.
    """
    first = pair[0]
    zero = _zero(first, constants)
    stored = numpy_helper.to_array(constants[first.input[0]])
    source = stored.dtype if first.op_type == "DequantizeLinear" else zero.dtype
    by = {("int8", "uint8"): 128, ("uint8", "int8"): -128}.get((str(source), dtype))
    if by is None:
        return
    if first.op_type == "DequantizeLinear":
        first.input[0] = _added(graph, f"{first.input[0]}.{dtype}", stored, by, dtype)
    for node in pair:
        moved = _added(graph, f"{node.output[0]}.zero.{dtype}", zero, by, dtype)
        del node.input[2:]
        node.input.append(moved)


def _zero(node: NodeProto, constants: dict[str, TensorProto]) -> npt.NDArray[np.generic]:
    """The zero point of a node, which is 0 where it is left out: uint8 or the integers' type."""
    if len(node.input) > 2 and node.input[2]:
        return np.asarray(numpy_helper.to_array(constants[node.input[2]]))
    integers = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
    dtype = np.dtype(np.uint8) if integers is None else numpy_helper.to_array(integers).dtype
    return np.zeros(tuple(constants[node.input[1]].dims), dtype)


def _added(
    graph: GraphProto, name: str, array: npt.NDArray[np.generic], by: int, dtype: WeightType
) -> str:
    name = edit.fresh_name(graph, name)
    moved = (array.astype(np.int16) + by).astype(dtype)
    graph.initializer.append(numpy_helper.from_array(np.array(moved, order="C"), name))
    return name
