"""PReLU slopes of the shape (C,), as old exporters wrote them for one slope a channel.

From opset 7 on a slope is broadcast from the right, so (C,) would be along the width.
"""

from __future__ import annotations

from onnx import ModelProto, numpy_helper

from orchestrator.errors import UserError
from orchestrator.graphs import edit
from orchestrator.intake import nodes
from orchestrator.intake.shapes import Shape, shapes_of


def settle_slopes(proto: ModelProto) -> str | None:
    """Give such slopes the shape (C, 1, 1), in place; what was done.

    Raises:
        UserError: a slope fits along the channels and along the width.
    """
    graph = proto.graph
    constants = edit.initializers(graph)
    flat = [
        node
        for node in graph.node
        if node.op_type == "PRelu"
        and node.input[1] in constants
        and len(constants[node.input[1]].dims) == 1
        and constants[node.input[1]].dims[0] != 1
    ]
    if not flat:
        return None
    shapes = shapes_of(proto)
    changed = []
    for node in flat:
        slope = constants[node.input[1]]
        into = shapes.of(node.input[0]) or _from_conv(proto, node.input[0])
        if into is None or len(into) < 3 or into[1] != slope.dims[0]:
            continue  # [N, C], or along the width; what fits nowhere onnxruntime will name
        fitted = numpy_helper.to_array(slope).reshape(-1, *[1] * (len(into) - 2))
        node.input[1] = nodes.add_constant(graph, f"{slope.name}.fitted", fitted)
        changed.append((node, slope.name, int(slope.dims[0])))
    if not changed:
        return None
    # Inference ends at a slope that does not fit; now it reaches all of them.
    shapes = shapes_of(proto)
    for node, name, count in changed:
        into = shapes.of(node.input[0])
        if into is not None and into[-1] == count:
            raise UserError(
                f"{edit.label(node)}: its slope '{name}' has the shape ({count},), and its "
                f"input has {count} channels and a width of {count}: ONNX means the width, old "
                "exporters meant the channels",
                f"give the slope the shape ({count}, 1, 1) or (1, 1, {count}) and export again",
            )
    edit.drop_unused_initializers(graph)
    labels = nodes.listed([edit.label(node) for node, _, _ in changed])
    return f"{len(changed)} PReLU have slopes of the shape (C,): read as one a channel ({labels})"


def _from_conv(proto: ModelProto, name: str) -> Shape | None:
    """Shape of a tensor, as far as the Conv that leads to it says."""
    makers = {output: node for node in proto.graph.node for output in node.output}
    constants = edit.initializers(proto.graph)
    node = makers.get(name)
    while node is not None and node.op_type in _KEEP_SHAPE:
        node = makers.get(node.input[0])
    if node is None or node.op_type != "Conv" or node.input[1] not in constants:
        return None
    dims = constants[node.input[1]].dims
    return (None, int(dims[0]), *[None] * (len(dims) - 2))


_KEEP_SHAPE = ("Add", "BatchNormalization", "Dropout", "Identity", "LeakyRelu", "PRelu", "Relu")
