"""BatchNormalization with `spatial`, an attribute of opsets 7 and 8.

`spatial = 0` means statistics for each element, and MXNet's exporter wrote it over statistics for
each channel, which nothing computes: the best-known public ArcFace file is of that kind.
"""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, helper

from orchestrator.errors import UserError
from orchestrator.graphs import edit
from orchestrator.intake import nodes


def settle_spatial(proto: ModelProto) -> str | None:
    """Say every BatchNormalization without `spatial`, in place; what was done."""
    graph = proto.graph
    mistaken, rewritten = [], []
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        settings = edit.attributes(node)
        if node.op_type != "BatchNormalization" or "spatial" not in settings:
            continue
        constants = edit.initializers(graph)
        sizes = [len(constants[n].dims) if n in constants else 1 for n in node.input[1:5]]
        if settings["spatial"] == 0:
            if max(sizes) > 1:
                rewritten.append(edit.label(node))
                _as_products(graph, index)
                continue
            mistaken.append(edit.label(node))
        attributes = [a for a in node.attribute if a.name != "spatial"]
        del node.attribute[:]
        node.attribute.extend(attributes)
    said = []
    if mistaken:
        said.append(
            f"{len(mistaken)} BatchNormalization say spatial=0 with statistics for each channel, "
            "which nothing can compute: read as statistics for each channel "
            f"({nodes.listed(mistaken)})"
        )
    if rewritten:
        said.append(
            f"{len(rewritten)} BatchNormalization with statistics for each element (spatial=0) "
            f"became Mul and Add ({nodes.listed(rewritten)})"
        )
    return "; ".join(said) or None


def _as_products(graph: GraphProto, index: int) -> None:
    node = graph.node[index]
    constants = edit.initializers(graph)
    if any(name not in constants for name in node.input[1:5]):
        raise UserError(f"{edit.label(node)}: its statistics are computed, expected constants")
    gamma, beta, mean, variance = (edit.value(constants[name]) for name in node.input[1:5])
    epsilon = float(np.float32(edit.attributes(node).get("epsilon", 1e-5)))
    if not np.all(variance + epsilon > 0):
        raise UserError(
            f"{edit.label(node)}: variance + epsilon is not positive everywhere",
            "the weights are damaged; export the model again",
        )
    scale = gamma / np.sqrt(variance + epsilon)
    shift = beta - mean * scale
    name = node.name or node.output[0]
    source, output = node.input[0], node.output[0]
    middle = edit.fresh_name(graph, f"{name}.scaled")
    factors = nodes.add_constant(graph, f"{name}.scale", scale[None].astype(np.float32))
    offsets = nodes.add_constant(graph, f"{name}.shift", shift[None].astype(np.float32))
    del graph.node[index]
    graph.node.insert(index, helper.make_node("Mul", [source, factors], [middle], f"{name}.mul"))
    graph.node.insert(
        index + 1, helper.make_node("Add", [middle, offsets], [output], f"{name}.add")
    )
