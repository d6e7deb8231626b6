"""Channels last (TensorFlow, Keras) becomes channels first.

The new input is transposed to what the graph expects, and that Transpose is moved behind the
element-wise nodes that follow until it meets the exporter's own, which undoes it.
"""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper

from orchestrator.graphs import edit
from orchestrator.intake import nodes

_TO_LAST = [0, 2, 3, 1]
_UNARY = frozenset({"Cast", "Identity", "LeakyRelu", "Neg", "Relu", "Sigmoid", "Tanh"})
_BINARY = frozenset({"Add", "Div", "Mul", "Sub"})


def to_channels_first(proto: ModelProto, name: str) -> str:
    """Feed NCHW to a model that takes NHWC, in place; what was done."""
    graph = proto.graph
    info = next(i for i in graph.input if i.name == name)
    dims = info.type.tensor_type.shape.dim
    order = [type(d).FromString(d.SerializeToString()) for d in (dims[0], dims[3], *dims[1:3])]
    del dims[:]
    dims.extend(order)
    del graph.value_info[:]
    last = edit.fresh_name(graph, f"{name}.channels_last")
    nodes.read_instead(graph, name, last)
    label = edit.fresh_name(graph, f"{name}.to_channels_last")
    graph.node.insert(0, helper.make_node("Transpose", [name], [last], label, perm=_TO_LAST))
    while _sink(graph, label):
        pass
    edit.drop_unused_initializers(graph)
    if any(node.name == label for node in graph.node):
        return "the input is NHWC (channels last): fed NCHW, and transposed in the graph"
    return "the input is NHWC (channels last): fed NCHW, and the exporter's Transpose taken out"


def _sink(graph: GraphProto, label: str) -> bool:
    """Move the Transpose behind the one node that reads it; whether there is more to do."""
    turn = next((node for node in graph.node if node.name == label), None)
    if turn is None or turn.output[0] in {output.name for output in graph.output}:
        return False
    readers = edit.consumers(graph).get(turn.output[0], [])
    if len(readers) != 1:
        return False
    (reader,) = readers
    perm = [int(axis) for axis in edit.attributes(turn)["perm"]]
    if reader.op_type == "Transpose":
        second = edit.attributes(reader).get("perm", [3, 2, 1, 0])
        both = [perm[axis] for axis in second]
        reader.input[0] = turn.input[0]
        _remove(graph, turn)
        del reader.attribute[:]
        reader.attribute.append(helper.make_attribute("perm", both))
        if both == sorted(both):
            nodes.bypass(graph, reader)
        return False
    if reader.op_type in _BINARY:
        place = 1 if reader.input[0] == turn.output[0] else 0
        constants = edit.initializers(graph)
        if reader.input[place] not in constants or len(constants[reader.input[place]].dims) > 4:
            return False
        array = np.asarray(nodes.array_of(constants, reader.input[place]))
        if array.size > 1:
            array = array.reshape(*[1] * (4 - array.ndim), *array.shape)
            turned = array.transpose(np.argsort(perm))
            wanted = f"{reader.input[place]}.channels_first"
            reader.input[place] = nodes.add_constant(graph, wanted, turned)
    elif reader.op_type not in _UNARY:
        return False
    _swap(graph, turn, reader)
    return True


def _swap(graph: GraphProto, turn: NodeProto, reader: NodeProto) -> None:
    """turn then reader becomes reader then turn; the outer tensors keep their names."""
    source, middle, output = turn.input[0], turn.output[0], reader.output[0]
    for index, name in enumerate(reader.input):
        if name == middle:
            reader.input[index] = source
    reader.output[0] = middle
    moved = NodeProto.FromString(turn.SerializeToString())
    moved.input[0], moved.output[0] = middle, output
    _remove(graph, turn)
    place = next(i for i, node in enumerate(graph.node) if node.output[:1] == [middle])
    graph.node.insert(place + 1, moved)


def _remove(graph: GraphProto, node: NodeProto) -> None:
    index = next(i for i, other in enumerate(graph.node) if other.name == node.name)
    del graph.node[index]
