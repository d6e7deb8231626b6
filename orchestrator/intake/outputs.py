"""Which output is the embedding, and the graph cut down to it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, TensorProto, helper

from orchestrator.errors import UserError
from orchestrator.graphs import edit
from orchestrator.intake import nodes
from orchestrator.intake.shapes import FLOATS, Shape, Shapes

# A face embedding has so many numbers or more; a quality score, an age, a pose has fewer.
SMALLEST = 32
_WORDS = ("embed", "feat", "face", "fc1", "descriptor", "emb")


def choose(proto: ModelProto, shapes: Shapes, named: str | None) -> str:
    """The name of the output that is the embedding.

    Args:
        proto: the model.
        shapes: its tensors'.
        named: the output that somebody named, or None.

    Raises:
        UserError: there is no such output, or it cannot be told which one is meant.
    """
    names = [str(output.name) for output in proto.graph.output]
    listed = "; ".join(_shown(shapes, name) for name in names)
    if not names:
        raise UserError("the model has no output", "export it again")
    if named is not None:
        if named not in names:
            raise UserError(
                f"the model has no output {named!r}; it has: {listed}", "name one: --output NAME"
            )
        return named
    if len(names) == 1:
        return names[0]
    sized = {name: _numbers(shapes.of(name)) for name in names}
    fitting = [
        name for name in names if (sized[name] or 0) >= SMALLEST and _is_vector(shapes.of(name))
    ]
    if len(fitting) > 1:
        spoken = [n for n in fitting if any(word in n.lower() for word in _WORDS)]
        fitting = spoken if len(spoken) == 1 else fitting
    if len(fitting) != 1:
        how = "none of them looks like" if not fitting else "more than one may be"
        raise UserError(
            f"the model has {len(names)} outputs, and {how} the embedding: {listed}",
            "name it: `farm init --output NAME`, or `output:` in the model's manifest",
        )
    return fitting[0]


def keep_only(proto: ModelProto, names: Sequence[str]) -> str | None:
    """Cut the graph down to what some outputs need, in their order, in place; what was done."""
    graph = proto.graph
    before = [output.name for output in graph.output]
    if before == list(names):
        return None
    others = [name for name in before if name not in names]
    found = {output.name: output for output in graph.output}
    copies = [type(found[n]).FromString(found[n].SerializeToString()) for n in names]
    del graph.output[:]
    graph.output.extend(copies)
    if not others:
        return f"the outputs are in the order of the decoder: {', '.join(names)}"
    needed = set(names)
    for index in reversed(range(len(graph.node))):
        if needed.intersection(graph.node[index].output):
            needed.update(graph.node[index].input)
        else:
            del graph.node[index]
    edit.drop_unused_initializers(graph)
    del graph.value_info[:]
    if len(names) > 1:
        return f"{len(names)} outputs are the detector's; left out: {', '.join(others)}"
    return f"the output '{names[0]}' is the embedding; left out: {', '.join(others)}"


def check_named(proto: ModelProto, names: Sequence[str]) -> None:
    """See that a detector has the outputs that were named.

    Raises:
        UserError: one is not there.
    """
    there = [str(output.name) for output in proto.graph.output]
    for name in names:
        if name not in there:
            raise UserError(
                f"the model has no output {name!r}; it has: {', '.join(there)}",
                "name them in the manifest: detection: {outputs: [...]}",
            )


def detector_batch(proto: ModelProto, shapes: Shapes, name: str) -> str | None:
    """Give one of a detector's outputs its batch, [n, c] to [1, n, c], in place; what was done.

    Raises:
        UserError: the output is not float, or its shape is not known.
    """
    _require_float(shapes, name)
    shape = shapes.of(name)
    if shape is None or not shape or None in shape:
        raise UserError(
            f"the shape of the output {_shown(shapes, name)} is not known before it is computed; "
            "a detector's outputs have fixed shapes",
            "export the model with a fixed input size and the batch 1",
        )
    if shape[0] == 1:
        return None
    sizes = [1, *(size for size in shape if size is not None)]
    _reshaped(proto, name, sizes)
    return f"the output '{name}' {sizes[1:]} got its batch: {sizes}"


def with_batch(proto: ModelProto, shapes: Shapes, name: str) -> str | None:
    """Give an output [d] its batch, [1, d], in place; what was done.

    Raises:
        UserError: the output is not float, or a single number.
    """
    _require_float(shapes, name)
    shape = shapes.of(name)
    if shape is not None and _numbers(shape) == 1:
        raise UserError(
            f"the output {_shown(shapes, name)} is one number an image, no embedding",
            "name another: --output NAME",
        )
    if shape is None or len(shape) != 1:
        return None
    _reshaped(proto, name, [1, shape[0]], [1, -1])
    return f"the output '{name}' [{shape[0]}] got its batch: [1, {shape[0]}]"


def _require_float(shapes: Shapes, name: str) -> None:
    kind = shapes.types.get(name, TensorProto.FLOAT)
    if kind not in FLOATS:
        word = TensorProto.DataType.Name(kind).lower()
        raise UserError(
            f"the output '{name}' is {word}, expected float32", "name another: --output NAME"
        )


def _reshaped(
    proto: ModelProto, name: str, sizes: Sequence[int | None], target: Sequence[int] | None = None
) -> None:
    """Put a Reshape to `sizes` before an output, which keeps its name."""
    graph = proto.graph
    output = next(o for o in graph.output if o.name == name)
    makers = [node for node in graph.node if name in node.output]
    flat = edit.fresh_name(graph, f"{name}.flat")
    for node in makers:
        node.output[list(node.output).index(name)] = flat
    nodes.read_instead(graph, name, flat)
    constant = nodes.add_constant(graph, f"{name}.shape", np.array(target or sizes, np.int64))
    label = edit.fresh_name(graph, f"{name}.batched")
    graph.node.append(helper.make_node("Reshape", [flat, constant], [name], label))
    output.CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(sizes)))


def _is_vector(shape: Shape | None) -> bool:
    """[d], [N, d], or [N, d, 1, 1] in any order of the ones."""
    if shape is None:
        return False
    sizes = shape[1:] if len(shape) > 1 else shape
    return sum(size != 1 for size in sizes) == 1


def _numbers(shape: Shape | None) -> int | None:
    """Numbers an image; None if unknown."""
    if shape is None:
        return None
    sizes = shape[1:] if len(shape) > 1 else shape
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None


def _shown(shapes: Shapes, name: str) -> str:
    shape = shapes.of(name)
    if shape is None:
        return f"'{name}'"
    return f"'{name}' [{', '.join('?' if d is None else str(d) for d in shape)}]"
