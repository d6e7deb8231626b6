"""Small steps on a graph that several changes share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from orchestrator.graphs import edit

_LITERALS = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def copy_of(proto: ModelProto) -> ModelProto:
    """A model of its own."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    return copy


def inline_constants(graph: GraphProto) -> None:
    """Turn Constant nodes into constants, in place."""
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if node.op_type != "Constant" or not node.attribute:
            continue
        settings = edit.attributes(node)
        (word, value), *_ = settings.items()
        if word == "value":
            tensor = TensorProto.FromString(value.SerializeToString())
        elif word in _LITERALS:
            tensor = numpy_helper.from_array(np.array(value, _LITERALS[word]))
        else:
            continue
        tensor.name = node.output[0]
        graph.initializer.append(tensor)
        del graph.node[index]


def array_of(constants: dict[str, TensorProto], name: str) -> npt.NDArray[np.generic]:
    """A constant's values."""
    return np.asarray(numpy_helper.to_array(constants[name]))


def add_constant(graph: GraphProto, wanted: str, array: npt.NDArray[np.generic]) -> str:
    """Add a constant under a name of its own, which is returned."""
    name = edit.fresh_name(graph, wanted)
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    return name


def read_instead(graph: GraphProto, old: str, new: str) -> None:
    """Let every node that reads `old` read `new`."""
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


def bypass(graph: GraphProto, node: NodeProto) -> bool:
    """Take out a node that hands its first input on; False where that cannot be said."""
    source, target = node.input[0], node.output[0]
    index = next(i for i, other in enumerate(graph.node) if other.output[:1] == [target])
    if target in {output.name for output in graph.output}:
        maker = next((other for other in graph.node if source in other.output), None)
        if maker is None or source in {output.name for output in graph.output}:
            return False
        maker.output[list(maker.output).index(source)] = target
        del graph.node[index]
        read_instead(graph, source, target)
        return True
    del graph.node[index]
    read_instead(graph, target, source)
    return True


def listed(nodes: list[str]) -> str:
    """The first few labels."""
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return ", ".join(nodes[:3]) + more
