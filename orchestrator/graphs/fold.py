"""Folds that change no value: constants into the linear operators beside them.

A batch normalization at inference is y = s*x + t per channel, s = gamma / sqrt(var + eps),
t = beta - mean*s. It folds exactly

- into the Conv or Gemm before it (the rows of the weight are scaled), and
- into the Gemm after it, through a Flatten or not, and the Conv after it **without padding**
  (the columns of the weight are scaled, and t goes through the weight into the bias).

Before a Conv with zero padding it stays: the border would see -t/s instead of 0. All products
are taken in float64 and rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, NodeProto, TensorProto, helper

from orchestrator.errors import UserError
from orchestrator.graphs import edit as g

Doubles = npt.NDArray[np.float64]


@dataclass
class FoldReport:
    """What was folded: (node that is gone, node that took it in)."""

    folded: list[tuple[str, str]] = field(default_factory=list)

    def into(self, name: str) -> str | None:
        """The node that took `name` in, if it was folded."""
        return dict(self.folded).get(name)


def fold(graph: GraphProto) -> FoldReport:
    """Apply every exact fold, in place, until none is left.

    Raises:
        UserError: a batch normalization has a variance that is not positive.
    """
    report = FoldReport()
    _remove_pass_through(graph, report)
    while _fold_one(graph, report):
        pass
    g.drop_unused_initializers(graph)
    return report


def normalize_gemms(graph: GraphProto) -> None:
    """Give every Gemm a constant weight [out, in], transB = 1, alpha = beta = 1, in place."""
    constants = g.initializers(graph)
    for node in graph.node:
        if node.op_type != "Gemm" or node.input[1] not in constants:
            continue
        settings = g.attributes(node)
        alpha, beta = settings.get("alpha", 1.0), settings.get("beta", 1.0)
        plain = alpha == 1.0 and (beta == 1.0 or len(node.input) < 3)
        if settings.get("transA") or (settings.get("transB") and plain):
            continue
        if len(node.input) > 2 and beta != 1.0 and node.input[2] not in constants:
            continue
        weight = g.value(constants[node.input[1]]) * alpha
        _set_constant(graph, node, 1, weight if settings.get("transB") else weight.T)
        if len(node.input) > 2 and beta != 1.0:
            _set_constant(graph, node, 2, g.value(constants[node.input[2]]) * beta)
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("transB", 1))


def _remove_pass_through(graph: GraphProto, report: FoldReport) -> None:
    """Take out Identity and Dropout, and turn Constant nodes into constants."""
    outputs = {output.name for output in graph.output}
    gone: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "Constant":
            tensor = g.attributes(node).get("value")
            if tensor is not None:
                graph.initializer.add().CopyFrom(tensor)
                graph.initializer[-1].name = node.output[0]
                gone.append(node)
        elif node.op_type in ("Identity", "Dropout"):
            training = len(node.input) > 2 or any(out for out in node.output[1:])
            if node.output[0] in outputs or training:
                continue
            for other in graph.node:
                for i, name in enumerate(other.input):
                    if name == node.output[0]:
                        other.input[i] = node.input[0]
            gone.append(node)
    g.remove_nodes(graph, gone)


def _fold_one(graph: GraphProto, report: FoldReport) -> bool:
    """Fold the first batch normalization that can be; whether there was one."""
    constants = g.initializers(graph)
    readers = g.consumers(graph)
    makers = {name: node for node in graph.node for name in node.output}
    outputs = {output.name for output in graph.output}

    def alone(name: str) -> bool:
        return len(readers.get(name, ())) == 1 and name not in outputs

    for bn in graph.node:
        if bn.op_type != "BatchNormalization" or any(out for out in bn.output[1:]):
            continue
        if any(name not in constants for name in bn.input[1:5]):
            continue
        scale, shift = _affine(bn, constants)
        before = makers.get(bn.input[0])
        if (
            before is not None
            and before.op_type in ("Conv", "Gemm")
            and alone(bn.input[0])
            and _constant_parameters(before, constants)
        ):
            _scale_rows(graph, before, scale, shift)
            before.output[0] = bn.output[0]
            report.folded.append((bn.name or bn.output[0], before.name or before.output[0]))
            g.remove_nodes(graph, [bn])
            return True
        if not alone(bn.output[0]):
            continue
        after = readers[bn.output[0]][0]
        reader = after
        if after.op_type == "Flatten" and g.attributes(after).get("axis", 1) == 1:
            if not alone(after.output[0]):
                continue
            reader = readers[after.output[0]][0]
        if _takes_columns(reader, after, constants):
            _scale_columns(graph, reader, scale, shift)
            after.input[0] = bn.input[0]
            report.folded.append((bn.name or bn.output[0], reader.name or reader.output[0]))
            g.remove_nodes(graph, [bn])
            return True
    return False


def _affine(bn: NodeProto, constants: dict[str, TensorProto]) -> tuple[Doubles, Doubles]:
    gamma, beta, mean, variance = (g.value(constants[name]) for name in bn.input[1:5])
    # The attribute is a float32; onnxruntime computes with exactly that value.
    epsilon = float(np.float32(g.attributes(bn).get("epsilon", 1e-5)))
    if not np.all(variance + epsilon > 0):
        channel = int(np.argmin(variance))
        raise UserError(
            f"{g.label(bn)}: variance + epsilon is {variance[channel] + epsilon:g} in channel "
            f"{channel} of '{bn.input[4]}', expected a positive number",
            "the weights are damaged; export the model again",
        )
    scale = gamma / np.sqrt(variance + epsilon)
    return scale, beta - mean * scale


def _constant_parameters(node: NodeProto, constants: dict[str, TensorProto]) -> bool:
    if node.op_type == "Gemm" and not _is_plain_gemm(node):
        return False
    return all(name in constants for name in node.input[1:] if name)


def _is_plain_gemm(node: NodeProto) -> bool:
    settings = g.attributes(node)
    plain = settings.get("alpha", 1.0) == 1.0 and settings.get("beta", 1.0) == 1.0
    return plain and settings.get("transB") == 1 and not settings.get("transA")


def _takes_columns(node: NodeProto, after: NodeProto, constants: dict[str, TensorProto]) -> bool:
    """Whether a per-channel y = s*x + t of the input can go into this node's weight."""
    if node.op_type == "Gemm":
        return _constant_parameters(node, constants)
    if node.op_type != "Conv" or node is not after or not _constant_parameters(node, constants):
        return False
    settings = g.attributes(node)
    padded = any(settings.get("pads", []))
    automatic = settings.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    return not (padded or automatic)


def _scale_rows(graph: GraphProto, node: NodeProto, scale: Doubles, shift: Doubles) -> None:
    constants = g.initializers(graph)
    weight = g.value(constants[node.input[1]])
    bias = g.value(constants[node.input[2]]) if len(node.input) > 2 and node.input[2] else 0.0
    _set_constant(graph, node, 1, weight * scale.reshape(-1, *[1] * (weight.ndim - 1)))
    _set_constant(graph, node, 2, bias * scale + shift)


def _scale_columns(graph: GraphProto, node: NodeProto, scale: Doubles, shift: Doubles) -> None:
    constants = g.initializers(graph)
    weight = g.value(constants[node.input[1]])
    rows = weight.shape[0]
    bias = np.zeros(rows)
    if len(node.input) > 2 and node.input[2]:
        bias = bias + g.value(constants[node.input[2]])
    if node.op_type == "Gemm":
        # Flatten keeps the channel slowest: each repeats height*width times.
        repeat = weight.shape[1] // scale.size
        columns, offsets = np.repeat(scale, repeat), np.repeat(shift, repeat)
        bias = bias + (weight * offsets).sum(axis=1)
        weight = weight * columns
    else:
        groups = g.attributes(node).get("group", 1)
        # Output channel o reads the input channels of its own group.
        of_group = np.repeat(np.arange(groups), rows // groups)
        columns = scale.reshape(groups, -1)[of_group][:, :, None, None]
        offsets = shift.reshape(groups, -1)[of_group][:, :, None, None]
        bias = bias + (weight * offsets).reshape(rows, -1).sum(axis=1)
        weight = weight * columns
    _set_constant(graph, node, 1, weight)
    _set_constant(graph, node, 2, bias)


def _set_constant(graph: GraphProto, node: NodeProto, position: int, array: Doubles) -> None:
    """Give `node` its own constant at an input, sharing none with another node."""
    current = node.input[position] if len(node.input) > position else ""
    shared = len(g.consumers(graph).get(current, ())) > 1
    if not current or shared:
        word = "weight" if position == 1 else "bias"
        wanted = f"{node.name or node.output[0]}.{word}"
        current = g.fresh_name(graph, wanted)
        while len(node.input) <= position:
            node.input.append("")
        node.input[position] = current
    g.replace_initializer(graph, current, array)
