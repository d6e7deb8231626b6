"""Newer operator sets said in opset 13, which every toolchain takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, NodeProto, helper

from orchestrator.errors import ToolchainError
from orchestrator.graphs import edit
from orchestrator.graphs.recipes import OPSET
from orchestrator.graphs.stamp import set_opset
from orchestrator.intake import nodes

# Operators whose newer definitions (14 to 23) only take more types, once the attributes below are
# left out (onnx/docs/Changelog.md).
_SAME = frozenset(
    {
        *("Abs", "Acos", "Add", "ArgMax", "Asin", "Atan", "AveragePool", "BatchNormalization"),
        *("Cast", "Ceil", "Clip", "Concat", "ConstantOfShape", "Conv", "ConvTranspose", "Cos"),
        *("DepthToSpace", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten"),
        *("Floor", "Gather", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid"),
        *("Identity", "InstanceNormalization", "LRN", "LeakyRelu", "Log", "LogSoftmax"),
        *("LpNormalization", "LpPool", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu"),
        *("Pad", "Pow", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean"),
        *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize"),
        *("Selu", "Shape", "Sigmoid", "Sin", "Slice", "Softmax", "Softplus", "Softsign"),
        *("SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose"),
        *("Unsqueeze", "Where"),
    }
)

# Attributes that came later, and the value with which they mean nothing.
_DROPPED: dict[str, dict[str, object]] = {
    "AveragePool": {"dilations": [1, 1]},
    "BatchNormalization": {"training_mode": 0},
    "Cast": {"saturate": 1, "round_mode": b"up"},
    "Resize": {
        "antialias": 0,
        "keep_aspect_ratio_policy": b"stretch",
    },
    "Shape": {"start": 0},
}
_REDUCE = frozenset(
    {"ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"}
    | {"ReduceSumSquare"}
)


def lower_opset(proto: ModelProto) -> str | None:
    """Say a model of a newer opset in 13, in place, where that can be; what was done.

    Where it cannot, the model stays at its opset: some toolchains take it, the others say so.
    """
    current = edit.opset(proto)
    if current <= OPSET:
        return None
    try:
        set_opset(nodes.copy_of(proto), OPSET)
    except ToolchainError:
        pass
    else:
        return None  # `prepare` does it, by the version alone
    lowered = nodes.copy_of(proto)
    if not all(_lower(lowered, index) for index in reversed(range(len(lowered.graph.node)))):
        return None
    for entry in lowered.opset_import:
        if entry.domain in edit.STANDARD_DOMAINS:
            entry.version = OPSET
    lowered.ir_version = min(lowered.ir_version, 8)
    edit.drop_unused_initializers(lowered.graph)
    proto.CopyFrom(lowered)
    return f"opset {current} is said in {OPSET}"


def _lower(proto: ModelProto, index: int) -> bool:
    """Rewrite one node; False where opset 13 has no word for it."""
    node = proto.graph.node[index]
    if node.domain not in edit.STANDARD_DOMAINS:
        return False
    if node.op_type == "HardSwish":
        _hard_swish(proto, index)
        return True
    if node.op_type not in _SAME:
        return False
    settings = edit.attributes(node)
    for name, idle in _DROPPED.get(node.op_type, {}).items():
        if name in settings:
            if settings[name] != idle:
                return False
            _drop(node, name)
    special = _SPECIAL.get(node.op_type)
    if node.op_type in _REDUCE:
        special = _reduce
    return special(proto, node) if special else True


def _drop(node: NodeProto, name: str) -> None:
    attributes = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(attributes)


def _reduce(proto: ModelProto, node: NodeProto) -> bool:
    """The axes of a reduction were an attribute until 18."""
    settings = edit.attributes(node)
    given = len(node.input) > 1 and bool(node.input[1])
    if not given:
        if settings.get("noop_with_empty_axes"):
            return False
    else:
        constants = edit.initializers(proto.graph)
        if node.input[1] not in constants:
            return False
        axes = [int(a) for a in np.ravel(nodes.array_of(constants, node.input[1]))]
        if not axes:
            return False
        node.attribute.append(helper.make_attribute("axes", axes))
    del node.input[1:]
    _drop(node, "noop_with_empty_axes")
    return True


def _split(proto: ModelProto, node: NodeProto) -> bool:
    _drop(node, "num_outputs")  # equal parts; what is not equal the proof sees
    return True


def _pad(proto: ModelProto, node: NodeProto) -> bool:
    if edit.attributes(node).get("mode", b"constant") == b"wrap":
        return False
    if len(node.input) > 3 and node.input[3]:
        return False
    del node.input[3:]
    return True


def _reshape(proto: ModelProto, node: NodeProto) -> bool:
    """PyTorch writes allowzero=1 everywhere; without a zero in the shape it means nothing."""
    if edit.attributes(node).get("allowzero"):
        constants = edit.initializers(proto.graph)
        if node.input[1] not in constants or not np.all(nodes.array_of(constants, node.input[1])):
            return False
    _drop(node, "allowzero")
    return True


def _resize(proto: ModelProto, node: NodeProto) -> bool:
    settings = edit.attributes(node)
    mode = settings.get("coordinate_transformation_mode", b"")
    return "axes" not in settings and mode != b"half_pixel_symmetric"


def _shape(proto: ModelProto, node: NodeProto) -> bool:
    return "end" not in edit.attributes(node)


_SPECIAL: dict[str, Callable[[ModelProto, NodeProto], bool]] = {
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Split": _split,
}


def _hard_swish(proto: ModelProto, index: int) -> None:
    graph = proto.graph
    node = graph.node[index]
    name = node.name or node.output[0]
    source, output = node.input[0], node.output[0]
    gate = edit.fresh_name(graph, f"{name}.gate")
    del graph.node[index]
    parts = (
        helper.make_node("HardSigmoid", [source], [gate], f"{name}.sigmoid", alpha=1 / 6, beta=0.5),
        helper.make_node("Mul", [source, gate], [output], f"{name}.mul"),
    )
    for place, part in enumerate(parts):
        graph.node.insert(index + place, part)
