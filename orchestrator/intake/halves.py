"""float16, bfloat16 and double become float32, which every toolchain starts from."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from orchestrator.errors import UserError
from orchestrator.graphs import edit
from orchestrator.intake import nodes
from orchestrator.intake.shapes import shapes_of

NAMES = {
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}


def other_floats(proto: ModelProto) -> set[str]:
    """Names of the float types other than float32 that the model speaks of."""
    kinds = {tensor.data_type for tensor in proto.graph.initializer}
    infos = (*proto.graph.input, *proto.graph.output)
    kinds.update(info.type.tensor_type.elem_type for info in infos)
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                kinds.add(attribute.t.data_type)
            if (node.op_type, attribute.name) in _TYPE_ATTRIBUTES:
                kinds.add(attribute.i)
    return {NAMES[kind] for kind in kinds if kind in NAMES}


_TYPE_ATTRIBUTES = {("Cast", "to"), ("EyeLike", "dtype")}


def to_float32(proto: ModelProto) -> str | None:
    """Say the whole model in float32, in place; what was done.

    Raises:
        UserError: a float64 weight is beyond float32.
    """
    found = other_floats(proto)
    if not found:
        return None
    graph = proto.graph
    for tensor in graph.initializer:
        _convert(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _convert(attribute.t)
            if (node.op_type, attribute.name) in _TYPE_ATTRIBUTES and attribute.i in NAMES:
                attribute.i = TensorProto.FLOAT
    for info in (*graph.input, *graph.output):
        if info.type.tensor_type.elem_type in NAMES:
            info.type.tensor_type.elem_type = TensorProto.FLOAT
    del graph.value_info[:]
    _drop_idle_casts(proto)
    words = " and ".join(sorted(found))
    return f"{words} weights, input or activations: computed in float32"


def _convert(tensor: TensorProto) -> None:
    if tensor.data_type not in NAMES:
        return
    array = np.asarray(numpy_helper.to_array(tensor))
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if np.isinf(single).sum() > np.isinf(array.astype(np.float64)).sum():
        raise UserError(
            f"weights '{tensor.name}' have values beyond float32",
            "export the model in float32",
        )
    tensor.CopyFrom(numpy_helper.from_array(single, tensor.name))


def _drop_idle_casts(proto: ModelProto) -> None:
    """Take out Casts from float32 to float32."""
    graph = proto.graph
    types = shapes_of(proto).types
    needed: set[str] = set()
    while True:
        node = next(
            (
                n
                for n in graph.node
                if n.op_type == "Cast"
                and edit.attributes(n).get("to") == TensorProto.FLOAT
                and types.get(n.input[0]) == TensorProto.FLOAT
                and n.output[0] not in needed
            ),
            None,
        )
        if node is None:
            return
        tensor = node.output[0]
        if not nodes.bypass(graph, node):
            needed.add(tensor)
