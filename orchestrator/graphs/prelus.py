"""PRelu by operators that compute the same bits in a fraction of the time.

onnxruntime computes a PRelu one value at a time; a product and a maximum take several at once.
"""

from __future__ import annotations

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from orchestrator.graphs import edit


def replaced(model: bytes) -> bytes:
    """A model without the PRelus that can be replaced."""
    proto = ModelProto.FromString(model)
    replace_prelus(proto.graph)
    return edit.dump(proto)


def replace_prelus(graph: GraphProto) -> None:
    """Replace each PRelu whose slopes allow it, in place.

    x > 0 ? x : slope * x is the greater of x and slope * x where slope <= 1, and the lesser where
    slope >= 1: rounding a product does not change which is greater. Both are zeros of one sign when
    x is zero, except for a negative slope, which counts only where something but a QuantizeLinear
    reads the result. A PRelu with other slopes stays, 0 among them: 0 * infinity is NaN.
    """
    constants = edit.initializers(graph)
    readers = edit.consumers(graph)
    outputs = {output.name for output in graph.output}
    nodes = []
    for node in graph.node:
        slope = constants.get(node.input[1]) if node.op_type == "PRelu" else None
        if slope is None:
            nodes.append(node)
            continue
        result = node.output[0]
        only_quantized = result not in outputs and all(
            reader.op_type == "QuantizeLinear" for reader in readers.get(result, ())
        )
        nodes += _replaced(node, graph, _operator(slope, zero_signs=not only_quantized))
    del graph.node[:]
    graph.node.extend(nodes)


def _operator(slope: TensorProto, *, zero_signs: bool) -> str:
    """The operator that replaces it, empty when none does."""
    slopes = numpy_helper.to_array(slope)
    if slopes.min() >= 1:
        return "Min"
    negative = bool((slopes < 0).any())
    allowed = slopes.all() and slopes.max() <= 1 and not (negative and zero_signs)
    return "Max" if allowed else ""


def _replaced(node: NodeProto, graph: GraphProto, operator: str) -> list[NodeProto]:
    if not operator:
        return [node]
    product = edit.fresh_name(graph, f"{node.output[0]}.product")
    return [
        helper.make_node("Mul", list(node.input), [product], name=f"{node.name}.product"),
        helper.make_node(operator, [node.input[0], product], list(node.output), name=node.name),
    ]
