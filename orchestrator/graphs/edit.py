"""Small, exact operations on an ONNX graph that the other modules share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from orchestrator.errors import UserError

STANDARD_DOMAINS = ("", "ai.onnx")


def load(model: bytes, what: str = "the model", *, check: bool = True) -> ModelProto:
    """Parse an ONNX file, and check it unless that is done elsewhere.

    Raises:
        UserError: the bytes are not a valid ONNX model.
    """
    try:
        proto = onnx.load_model_from_string(model)
    except Exception as error:  # protobuf's DecodeError, whose package has no type stubs
        raise UserError(f"{what} is not an ONNX file: {error}") from error
    if not proto.graph.node:
        raise UserError(f"{what} is not an ONNX file with a graph: it has no nodes")
    if check:
        check_model(model, what)
    return proto


def check_model(model: bytes, what: str = "the model") -> None:
    """Hold a file against the ONNX specification.

    Raises:
        UserError: it breaks it.
    """
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        text = str(error).strip()
        raise UserError(
            f"{what} is not valid ONNX: {text}",
            "export it again; weights must be inside the file, not beside it",
        ) from error


def dump(proto: ModelProto) -> bytes:
    """Serialize so that equal models give equal bytes."""
    return bytes(proto.SerializeToString(deterministic=True))


def label(node: NodeProto) -> str:
    """How an error message names a node."""
    kind = shown(node.op_type, 40)
    if node.name:
        return f"node '{shown(node.name, 120)}' ({kind})"
    return f"node {kind} -> '{shown(node.output[0], 120) if node.output else ''}'"


def shown(text: str, most: int = 600) -> str:
    """Words of a model, or of who read it, on one line and safe for a terminal."""
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= most else line[:most] + "..."


def opset(proto: ModelProto) -> int:
    """The version of the standard operator set."""
    return next((o.version for o in proto.opset_import if o.domain in STANDARD_DOMAINS), 1)


def initializers(graph: GraphProto) -> dict[str, TensorProto]:
    """Constant tensors by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def value(tensor: TensorProto) -> npt.NDArray[np.float64]:
    """A constant as float64, in which products and sums of float32 lose nothing visible."""
    return np.asarray(numpy_helper.to_array(tensor)).astype(np.float64)


def consumers(graph: GraphProto) -> dict[str, list[NodeProto]]:
    """Nodes by the tensor they read; a node stands twice when it reads it twice."""
    found: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


def attributes(node: NodeProto) -> dict[str, Any]:
    """Attributes as Python values."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def scale_axis(node: NodeProto, rank: int) -> int:
    """The axis of a QuantizeLinear's or DequantizeLinear's scales, counted from the front.

    Args:
        rank: of the tensor that it takes.
    """
    axis = int(attributes(node).get("axis", 1))
    return axis + rank if axis < 0 else axis


def operators(proto: ModelProto) -> Counter[str]:
    """How many nodes of each operator, `domain.Operator` outside the standard domain."""
    return Counter(
        node.op_type if node.domain in STANDARD_DOMAINS else f"{node.domain}.{node.op_type}"
        for node in proto.graph.node
    )


def fresh_name(graph: GraphProto, wanted: str) -> str:
    """`wanted`, or with a number added when a tensor of that name exists."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken.update(tensor.name for tensor in graph.initializer)
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def replace_initializer(graph: GraphProto, name: str, array: npt.NDArray[np.float64]) -> None:
    """Set (or add) a float32 constant."""
    tensor = numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name)
    for existing in graph.initializer:
        if existing.name == name:
            existing.CopyFrom(tensor)
            return
    graph.initializer.append(tensor)


def remove_nodes(graph: GraphProto, nodes: Iterable[NodeProto]) -> None:
    """Take these very nodes out."""
    gone = {id(node) for node in nodes}
    remaining = [node for node in graph.node if id(node) not in gone]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in remaining]
    del graph.node[:]
    graph.node.extend(copies)


def drop_unused_initializers(graph: GraphProto) -> None:
    """Remove constants that nothing reads."""
    used = {name for node in graph.node for name in node.input}
    used.update(output.name for output in graph.output)
    used_tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    if len(used_tensors) != len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(used_tensors)


# ONNX's operators whose output is another one each time.
RANDOM = frozenset(
    {
        *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"),
        *("RandomUniform", "RandomUniformLike"),
    }
)


def check_repeatable(graph: GraphProto) -> None:
    """Raise UserError at the first node that draws random numbers, subgraphs included."""
    for node in graph.node:
        if node.op_type in RANDOM:
            raise UserError(
                f"{label(node)} draws random numbers ({node.op_type}), so that the model computes "
                "another feature of the same image each time; expected the same feature",
                "export the model for inference, without what adds noise in training",
            )
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                check_repeatable(inner)


def check_plain(node: NodeProto) -> None:
    """Raise UserError for an operator of no standard set, or one that contains a subgraph."""
    if node.domain not in STANDARD_DOMAINS:
        raise UserError(
            f"{label(node)} is of the operator set '{node.domain}', expected only "
            "ONNX's own operators",
            "export the model without custom or fused operators",
        )
    if any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute):
        raise UserError(
            f"{label(node)} contains a subgraph, expected a model without control flow",
            "export the model for inference, with fixed shapes",
        )
