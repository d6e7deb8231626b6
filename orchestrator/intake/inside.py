"""Normalization of pixels that is part of the graph: found in its first nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto

from orchestrator.graphs import edit

Triple = tuple[float, float, float]
Doubles = npt.NDArray[np.float64]

_PASS = ("Cast", "Identity", "Transpose")


@dataclass(frozen=True)
class Inside:
    """The graph computes (x - mean) / std first.

    Attributes:
        mean, std: a channel, in the order in which the graph takes them.
        range: the largest x: 255 for pixels as they are, 1 for pixels / 255.
    """

    mean: Triple
    std: Triple
    range: int

    def __str__(self) -> str:
        mean, std = (_short(values) for values in (self.mean, self.std))
        return f"(x - {mean}) / {std} of x from 0 to {self.range}"

    @property
    def fed(self) -> tuple[Triple, Triple]:
        """Mean and std that a manifest has to name, so that x is what the graph wants."""
        divided = 255.0 / self.range
        return (0.0, 0.0, 0.0), (divided, divided, divided)


def find_inside(proto: ModelProto) -> Inside | None:
    """The normalization at the front of a graph; None where there is none of the usual kinds.

    Args:
        proto: with an input [N, 3, height, width], constants inlined.
    """
    graph = proto.graph
    constants = edit.initializers(graph)
    readers = edit.consumers(graph)
    names = [info.name for info in graph.input if info.name not in constants]
    name, axis = names[0], 1
    scale, shift = np.ones(3), np.zeros(3)
    changed = False
    while len(readers.get(name, ())) == 1:
        (node,) = readers[name]
        if node.op_type == "Transpose":
            perm = [int(p) for p in edit.attributes(node).get("perm", [3, 2, 1, 0])]
            axis = perm.index(axis)
        elif node.op_type not in _PASS:
            step = _affine(node, name, axis, constants)
            if step is None:
                break
            scale, shift = scale * step[0], shift * step[0] + step[1]
            changed = True
        name = node.output[0]
    if not changed or not np.all(scale > 0):
        return None
    mean, std = -shift / scale, 1 / scale
    if np.all((std > 20) & (std < 400)) and np.all((mean > -1) & (mean < 256)):
        limit = 255
    elif np.all((std > 0.15) & (std < 0.6)) and np.all((mean > 0.2) & (mean < 0.7)):
        limit = 1
    else:
        return None
    return Inside(_triple(mean), _triple(std), limit)


def _affine(
    node: NodeProto, name: str, axis: int, constants: dict[str, TensorProto]
) -> tuple[Doubles, Doubles] | None:
    """What a node multiplies a channel by, and then adds; None if it does something else."""
    one, zero = np.ones(3), np.zeros(3)
    if node.op_type == "BatchNormalization":
        if axis != 1 or any(n not in constants for n in node.input[1:5]):
            return None
        gamma, beta, mean, variance = (edit.value(constants[n]) for n in node.input[1:5])
        if gamma.size != 3:
            return None
        scale = gamma / np.sqrt(variance + edit.attributes(node).get("epsilon", 1e-5))
        return scale, beta - mean * scale
    if node.op_type not in ("Add", "Div", "Mul", "Sub") or len(node.input) != 2:
        return None
    first = node.input[0] == name
    other = node.input[1 if first else 0]
    if other not in constants or (not first and node.op_type in ("Div", "Sub")):
        return None
    array = edit.value(constants[other])
    if array.size == 1:
        value = np.full(3, float(array.reshape(-1)[0]))
    else:
        shape = (1,) * (4 - array.ndim) + array.shape
        if array.size != 3 or len(shape) != 4 or shape[axis] != 3:
            return None
        value = array.reshape(3)
    if node.op_type == "Div" and not np.all(value):
        return None
    return {
        "Add": (one, value),
        "Sub": (one, -value),
        "Mul": (value, zero),
        "Div": (1 / np.where(value == 0, 1, value), zero),
    }[node.op_type]


def _triple(values: Doubles) -> Triple:
    a, b, c = (float(f"{value:.6g}") for value in values)
    return a, b, c


def _short(values: Triple) -> str:
    words = [f"{value:g}" for value in values]
    return words[0] if len(set(words)) == 1 else f"[{', '.join(words)}]"
