"""Cross-layer equalization: channels of neighbouring convolutions brought to one size.

Where a Conv feeds only a PRelu or Relu, and that only another Conv, channel i may be divided by
any s > 0 in the first and multiplied in the second, since f(x / s) = f(x) / s. With
s = sqrt(r1 / r2), r the largest weight of the channel in each, both get the same range, and one
scale for a whole weight tensor wastes fewest bits (Nagel et al., "Data-Free Quantization Through
Weight Equalization and Bias Correction", ICCV 2019, section 4.1). Here s is rounded to a power of
two: then not one bit of the float model's output changes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, NodeProto, numpy_helper

from orchestrator.graphs import edit
from orchestrator.graphs.prepare import prove_equal

HOMOGENEOUS = ("LeakyRelu", "PRelu", "Relu")
_SWEEPS = 20
_LIMIT = 2.0**10

Floats = npt.NDArray[np.float32]


def equalize(prepared: bytes) -> bytes:
    """The same function with equalized weights; the file as it is when it has no such pair.

    Args:
        prepared: what `prepare` made.

    Raises:
        ToolchainError: the result does not compute what the model does.
    """
    proto = onnx.ModelProto.FromString(prepared)
    pairs = equalizable(proto.graph)
    if not pairs:
        return prepared
    constants = edit.initializers(proto.graph)
    weights = {
        name: numpy_helper.to_array(constants[name]).astype(np.float32)
        for pair in pairs
        for node in pair
        for name in node.input[1:3]
    }
    for _ in range(_SWEEPS):
        changed = [_equalize(first, second, weights) for first, second in pairs]
        if not any(changed):
            break
    for name, array in weights.items():
        edit.replace_initializer(proto.graph, name, array.astype(np.float64))
    equalized = edit.dump(proto)
    prove_equal(prepared, equalized)
    return equalized


def equalizable(graph: GraphProto) -> list[tuple[NodeProto, NodeProto]]:
    """Pairs of Conv with a homogeneous operator, or nothing, between them and no other reader."""
    constants = edit.initializers(graph)
    readers = edit.consumers(graph)
    outputs = {output.name for output in graph.output}
    uses = {name: len(nodes) for name, nodes in readers.items()}

    def only_reader(name: str) -> NodeProto | None:
        found = readers.get(name, [])
        return found[0] if len(found) == 1 and name not in outputs else None

    def weighted(node: NodeProto | None) -> bool:
        return (
            node is not None
            and node.op_type == "Conv"
            and all(name in constants and uses[name] == 1 for name in node.input[1:])
        )

    pairs = []
    for node in graph.node:
        if not weighted(node):
            continue
        after = only_reader(node.output[0])
        if after is not None and after.op_type in HOMOGENEOUS and after.input[0] == node.output[0]:
            after = only_reader(after.output[0])
        if after is not None and weighted(after) and _grouping(after, constants) is not None:
            pairs.append((node, after))
    return pairs


def _grouping(node: NodeProto, constants: dict[str, onnx.TensorProto]) -> bool | None:
    """True for a depthwise Conv, False for a plain one, None for other groups."""
    groups = int(edit.attributes(node).get("group", 1))
    if groups == 1:
        return False
    out, into = constants[node.input[1]].dims[:2]
    return True if into == 1 and out == groups else None


def _equalize(first: NodeProto, second: NodeProto, weights: dict[str, Floats]) -> bool:
    """One step on one pair, in place; whether anything changed."""
    before, after = weights[first.input[1]], weights[second.input[1]]
    depthwise = int(edit.attributes(second).get("group", 1)) > 1
    out = np.abs(before).reshape(len(before), -1).max(axis=1)
    into = np.abs(after).max(axis=(1, 2, 3) if depthwise else (0, 2, 3))
    both = (out > 0) & (into > 0)
    ratio = np.where(both, out, 1) / np.where(both, into, 1)
    scale = np.exp2(np.rint(np.log2(np.sqrt(ratio)))).astype(np.float32)
    scale = np.clip(scale, np.float32(1 / _LIMIT), np.float32(_LIMIT))
    if np.all(scale == 1):
        return False
    before /= scale.reshape(-1, 1, 1, 1)
    for name in first.input[2:3]:
        weights[name] /= scale
    after *= scale.reshape((-1, 1, 1, 1) if depthwise else (1, -1, 1, 1))
    return True
