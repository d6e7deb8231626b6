"""A uint8 input whose Cast to float is in the graph: the same numbers, fed as float32."""

from __future__ import annotations

from onnx import ModelProto, TensorProto

from orchestrator.errors import UserError
from orchestrator.graphs import edit
from orchestrator.intake import nodes

# These hand numbers on as they are, whatever their type.
_CARRY = frozenset(
    {
        *("Concat", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split"),
        *("Squeeze", "Transpose", "Unsqueeze"),
    }
)
_WIDER = (
    *(TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32),
    *(TensorProto.UINT32, TensorProto.INT64, TensorProto.UINT64),
)


def from_bytes(proto: ModelProto, name: str) -> str | None:
    """Make a uint8 input float32, in place; what was done.

    Raises:
        UserError: a node computes with the bytes before they are cast to float.
    """
    graph = proto.graph
    info = next(i for i in graph.input if i.name == name)
    if info.type.tensor_type.elem_type != TensorProto.UINT8:
        return None
    raw, casts = {name}, []
    for node in graph.node:
        if not raw.intersection(node.input):
            continue
        to = edit.attributes(node).get("to") if node.op_type == "Cast" else None
        if to == TensorProto.FLOAT or to in _WIDER:
            casts.append(node.output[0])
            if to in _WIDER:
                raw.add(node.output[0])
        elif node.op_type in _CARRY and node.input[0] in raw:
            raw.update(node.output)
        else:
            raise UserError(
                f"{edit.label(node)} computes with the uint8 input before it is cast to float",
                "export the model with a Cast to float32 first, or with a float32 input",
            )
    info.type.tensor_type.elem_type = TensorProto.FLOAT
    del graph.value_info[:]
    for tensor in casts:
        node = next(n for n in graph.node if n.output[:1] == [tensor])
        if not nodes.bypass(graph, node):
            raise UserError(f"{edit.label(node)}: it is all that the model does")
    return "the uint8 input is fed as float32, 0 to 255; its Cast was taken out"
