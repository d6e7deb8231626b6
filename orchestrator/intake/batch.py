"""One image at a time: a batch fixed to another number, open, 0 or -1 becomes 1."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto

from orchestrator.errors import UserError
from orchestrator.graphs import edit
from orchestrator.intake import nodes

# Operators whose constant input at this place is a shape with the batch in front.
_SHAPED = {"Reshape": 1, "Expand": 1, "Resize": 3}


def fixed_batch(proto: ModelProto, name: str) -> int:
    """The batch that the input states: a number above 1, 1, or 0 for one that is open.

    Zero and negative numbers are open: exporters write them so.
    """
    info = next(i for i in proto.graph.input if i.name == name)
    first = info.type.tensor_type.shape.dim[0]
    return max(int(first.dim_value), 0) if first.HasField("dim_value") else 0


def is_open(proto: ModelProto, name: str) -> bool:
    """Whether the input leaves its batch open, or it is 1 already: both are the normal form."""
    info = next(i for i in proto.graph.input if i.name == name)
    first = info.type.tensor_type.shape.dim[0]
    return not first.HasField("dim_value") or first.dim_value == 1


def fix_zero(proto: ModelProto, name: str) -> str | None:
    """Make a batch of 0 or -1, with which some exporters mean an open one, 1; what was done."""
    info = next(i for i in proto.graph.input if i.name == name)
    first = info.type.tensor_type.shape.dim[0]
    return to_one(proto, name) if first.HasField("dim_value") else None


def to_one(proto: ModelProto, name: str) -> str | None:
    """Fix the batch to 1, in place, in the constants of Reshape too; what was done.

    Raises:
        UserError: a constant shape has no part that is the batch.
    """
    graph = proto.graph
    info = next(i for i in graph.input if i.name == name)
    first = info.type.tensor_type.shape.dim[0]
    stated = int(first.dim_value) if first.HasField("dim_value") else 0
    open_before = not first.HasField("dim_value")
    if not open_before and stated == 1:
        return None
    first.Clear()
    first.dim_value = 1
    del graph.value_info[:]
    for output in graph.output:
        # Stated again at the end: it may hold the old batch.
        for dim in output.type.tensor_type.shape.dim:
            dim.Clear()
    rewritten = _rewrite_shapes(proto, stated) if stated > 1 else []
    if open_before:
        return "the open batch is 1"
    said = f"the batch {stated} became 1"
    return said + (f", also in {nodes.listed(rewritten)}" if rewritten else "")


def _rewrite_shapes(proto: ModelProto, batch: int) -> list[str]:
    graph = proto.graph
    constants = edit.initializers(graph)
    varying = _depend_on_input(proto)
    changed = []
    for node in graph.node:
        place = _SHAPED.get(node.op_type)
        if place is None or len(node.input) <= place or node.input[place] not in constants:
            continue
        if node.input[0] not in varying and node.op_type == "Reshape":
            continue
        tensor = constants[node.input[place]]
        if tensor.data_type != TensorProto.INT64 or not tensor.dims or tensor.dims[0] < 1:
            continue
        wanted = np.array(nodes.array_of(constants, node.input[place]))
        lead = int(wanted[0])
        if lead in (-1, 0, 1):
            continue  # the rest of the elements, the same as before, or no batch at all
        if lead % batch:
            raise UserError(
                f"the batch is fixed to {batch}, and {edit.label(node)} has the shape "
                f"{wanted.tolist()}, in which it cannot be found",
                "export the model with the batch 1 or an open batch",
            )
        wanted[0] = lead // batch
        node.input[place] = nodes.add_constant(graph, f"{tensor.name}.batch1", wanted)
        changed.append(edit.label(node))
    edit.drop_unused_initializers(graph)
    return changed


def _depend_on_input(proto: ModelProto) -> set[str]:
    constants = set(edit.initializers(proto.graph))
    varying = {info.name for info in proto.graph.input if info.name not in constants}
    for node in proto.graph.node:
        if varying.intersection(node.input) and node.op_type not in ("Shape", "Size"):
            varying.update(node.output)
    return varying
