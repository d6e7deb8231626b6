"""Fully connected layers as every toolchain takes them: one Gemm, behind no Transpose.

Keras writes MatMul, and before it, where the picture becomes a row, a Transpose back to channels
last. The Transpose is gone once the rows of the weight stand in the other order.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto

from orchestrator.graphs import edit
from orchestrator.intake import nodes
from orchestrator.intake.shapes import Shapes, shapes_of


def to_gemm(proto: ModelProto) -> str | None:
    """Make every MatMul of a row with a constant a Gemm, in place; what was done."""
    graph = proto.graph
    if not any(node.op_type == "MatMul" for node in graph.node):
        return None
    shapes = shapes_of(proto)
    constants = edit.initializers(graph)
    changed = []
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in constants:
            continue
        into = shapes.of(node.input[0])
        if into is None or len(into) != 2 or len(constants[node.input[1]].dims) != 2:
            continue
        changed.append(edit.label(node))
        node.op_type = "Gemm"
        if not node.name:
            node.name = node.output[0]
    for name in [node.output[0] for node in graph.node if node.op_type == "Gemm"]:
        _take_bias(graph, name)
    if edit.opset(proto) < 11:
        _require_biases(graph)
    return f"{len(changed)} MatMul became Gemm ({nodes.listed(changed)})" if changed else None


def _require_biases(graph: GraphProto) -> None:
    """Before opset 11 a Gemm has a bias."""
    constants = edit.initializers(graph)
    for node in graph.node:
        if node.op_type == "Gemm" and len(node.input) == 2 and node.input[1] in constants:
            axis = 0 if edit.attributes(node).get("transB") else 1
            zeros = np.zeros(constants[node.input[1]].dims[axis], np.float32)
            node.input.append(nodes.add_constant(graph, f"{node.name}.bias", zeros))


def _take_bias(graph: GraphProto, tensor: str) -> None:
    """Bring the Add of a constant behind a Gemm without bias into it."""
    gemm = next(node for node in graph.node if tensor in node.output)
    readers = edit.consumers(graph).get(tensor, [])
    outputs = {output.name for output in graph.output}
    if len(gemm.input) > 2 or len(readers) != 1 or tensor in outputs:
        return
    (add,) = readers
    constants = edit.initializers(graph)
    if add.op_type != "Add" or gemm.input[1] not in constants:
        return
    other = add.input[1 if add.input[0] == tensor else 0]
    wide = constants[gemm.input[1]].dims[0 if edit.attributes(gemm).get("transB") else 1]
    if other not in constants or list(constants[other].dims) not in ([wide], [1, wide]):
        return
    bias = nodes.array_of(constants, other).reshape(-1)
    gemm.input.append(nodes.add_constant(graph, f"{other}.bias", bias))
    final = add.output[0]
    index = next(i for i, node in enumerate(graph.node) if node.output[:1] == [final])
    gemm.output[0] = final
    del graph.node[index]


def without_transpose(proto: ModelProto) -> str | None:
    """Turn weights instead of the picture where it becomes a row, in place; what was done."""
    graph = proto.graph
    if not any(node.op_type == "Transpose" for node in graph.node):
        return None
    shapes = shapes_of(proto)
    changed = 0
    for name in [node.output[0] for node in graph.node if node.op_type == "Transpose"]:
        turn = next(node for node in graph.node if name in node.output)
        changed += _turn_weight(graph, turn, shapes)
    if not changed:
        return None
    edit.drop_unused_initializers(graph)
    return f"{changed} Transpose before a fully connected layer went into its weight"


def _turn_weight(graph: GraphProto, turn: NodeProto, shapes: Shapes) -> bool:
    readers, constants = edit.consumers(graph), edit.initializers(graph)
    outputs = {output.name for output in graph.output}

    def only_reader(name: str) -> NodeProto | None:
        found = readers.get(name, [])
        return found[0] if len(found) == 1 and name not in outputs else None

    perm = [int(axis) for axis in edit.attributes(turn).get("perm", [])]
    picture, turned = shapes.fixed(turn.input[0]), shapes.fixed(turn.output[0])
    flat = only_reader(turn.output[0])
    if flat is None or flat.op_type not in ("Flatten", "Reshape") or perm[:1] != [0]:
        return False
    row = shapes.fixed(flat.output[0])
    if picture is None or turned is None or row is None or len(picture) != 4:
        return False
    gemm = only_reader(flat.output[0])
    if row != (picture[0], math.prod(picture[1:])) or gemm is None or gemm.op_type != "Gemm":
        return False
    settings = edit.attributes(gemm)
    if settings.get("transA") or gemm.input[0] != flat.output[0]:
        return False
    if gemm.input[1] not in constants:
        return False
    weight = np.asarray(nodes.array_of(constants, gemm.input[1]))
    columns = weight.T if settings.get("transB") else weight
    back = np.argsort(perm[1:])
    stood = columns.reshape(*turned[1:], -1).transpose(*back, 3).reshape(columns.shape)
    stood = stood.T if settings.get("transB") else stood
    gemm.input[1] = nodes.add_constant(graph, f"{gemm.input[1]}.channels_first", stood)
    turn_output = turn.output[0]
    flat.input[0] = turn.input[0]
    index = next(i for i, node in enumerate(graph.node) if node.output[:1] == [turn_output])
    del graph.node[index]
    return True
