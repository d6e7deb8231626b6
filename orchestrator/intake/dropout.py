"""Dropout: nothing at inference, however an exporter wrote it."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from orchestrator.errors import UserError
from orchestrator.graphs import edit
from orchestrator.intake import nodes


def remove_dropout(proto: ModelProto) -> str | None:
    """Take out every Dropout, in place; what was done.

    Raises:
        UserError: one is switched to training, or its mask is used.
    """
    graph = proto.graph
    refuse_training(proto)
    gone = []
    while True:
        used = {name for node in graph.node for name in node.input}
        used.update(output.name for output in graph.output)
        node = next(
            (n for n in graph.node if n.op_type == "Dropout" and n.output[0] not in gone), None
        )
        if node is None:
            break
        if any(name in used for name in node.output[1:] if name):
            raise UserError(
                f"{edit.label(node)}: its mask '{node.output[1]}' is used, as only training does",
                "export the model for inference",
            )
        gone.append(node.output[0])
        label = edit.label(node)
        if not nodes.bypass(graph, node):
            raise UserError(f"{label}: it is all that the model does")
    edit.drop_unused_initializers(graph)
    return f"{len(gone)} Dropout, which do nothing at inference, were taken out" if gone else None


def needs_it(proto: ModelProto) -> bool:
    """Whether a Dropout is written in a way that `graphs.fold` leaves alone."""
    outputs = {output.name for output in proto.graph.output}
    return any(
        node.op_type == "Dropout"
        and (len(node.input) > 2 or any(node.output[1:]) or node.output[0] in outputs)
        for node in proto.graph.node
    )


def refuse_training(proto: ModelProto) -> None:
    """Raise UserError where a node is switched to training."""
    constants = edit.initializers(proto.graph)
    for node in proto.graph.node:
        training = False
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] in constants:
            training = bool(np.any(nodes.array_of(constants, node.input[2])))
        if node.op_type == "BatchNormalization":
            training = bool(edit.attributes(node).get("training_mode"))
        if training:
            raise UserError(
                f"{edit.label(node)} is switched to training: the same image would give other "
                "features each time",
                "export the model for inference (PyTorch: model.eval())",
            )
