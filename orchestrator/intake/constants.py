"""What does not depend on the image is computed once: shapes, casts and transposes of weights."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper

from orchestrator.graphs import edit
from orchestrator.intake.running import compute
from orchestrator.intake.shapes import shapes_of

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomUniform", "RandomNormalLike"}
)
_ROUNDS = 8


def needs_it(proto: ModelProto) -> bool:
    """Whether a node, Constant apart, depends on no image or asks for a shape."""
    constants = set(edit.initializers(proto.graph))
    for node in proto.graph.node:
        if node.op_type == "Constant":
            constants.update(node.output)
        elif node.op_type == "Shape" or _is_constant(node, constants):
            return True
    return False


def fold_constants(proto: ModelProto) -> str | None:
    """Put values in the place of the nodes that compute them, in place; what was done."""
    before = len(proto.graph.node)
    for _ in range(_ROUNDS):
        answered = _answer_shapes(proto)
        folded = _fold(proto)
        if not answered and not folded:
            break
    edit.drop_unused_initializers(proto.graph)
    gone = before - len(proto.graph.node)
    return f"{gone} nodes that do not depend on the image became their values" if gone else None


def _answer_shapes(proto: ModelProto) -> bool:
    """Replace Shape of a tensor of known shape by that shape."""
    graph = proto.graph
    if not any(node.op_type == "Shape" for node in graph.node):
        return False
    shapes = shapes_of(proto)
    found = False
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        fixed = shapes.fixed(node.input[0]) if node.op_type == "Shape" else None
        if fixed is None:
            continue
        settings = edit.attributes(node)
        part = fixed[settings.get("start", 0) : settings.get("end", len(fixed))]
        tensor = onnx.numpy_helper.from_array(np.array(part, np.int64), node.output[0])
        graph.initializer.append(tensor)
        del graph.node[index]
        found = True
    return found


def _is_constant(node: NodeProto, constants: set[str]) -> bool:
    inputs = [name for name in node.input if name]
    return node.op_type not in _RANDOM and all(name in constants for name in inputs)


def _fold(proto: ModelProto) -> bool:
    graph = proto.graph
    constants = set(edit.initializers(graph))
    outputs = {output.name for output in graph.output}
    indices: list[int] = []
    folded: set[str] = set()
    for index, node in enumerate(graph.node):
        if node.op_type == "Constant" or outputs.intersection(node.output):
            continue
        if _is_constant(node, constants | folded):
            indices.append(index)
            folded.update(node.output)
    if not indices:
        return False
    folding = set(indices)
    wanted = {
        name
        for index, node in enumerate(graph.node)
        if index not in folding
        for name in node.input
        if name in folded
    }
    if wanted:
        part = ModelProto(ir_version=proto.ir_version)
        part.opset_import.extend(proto.opset_import)
        part.graph.name = "constants"
        part.graph.node.extend(graph.node[index] for index in indices)
        read = {name for node in part.graph.node for name in node.input}
        part.graph.initializer.extend(t for t in graph.initializer if t.name in read)
        part.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in sorted(wanted))
        for name, array in compute(part, sorted(wanted), {}).items():
            graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for index in reversed(indices):
        del graph.node[index]
    return True
