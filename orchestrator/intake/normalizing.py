"""All changes in their order: from a file to the normal form, and what was done on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from orchestrator.errors import FarmError, UserError
from orchestrator.graphs import edit
from orchestrator.graphs.prepare import check_weights
from orchestrator.intake import (
    batch,
    bytes_in,
    constants,
    dense,
    dropout,
    halves,
    inputs,
    layout,
    nodes,
    outputs,
    slopes,
    spatial,
    versions,
)
from orchestrator.intake.checking import check_file, check_strictly
from orchestrator.intake.inputs import Layout
from orchestrator.intake.inside import Inside, find_inside
from orchestrator.intake.reading import Original
from orchestrator.intake.shapes import Shapes, shapes_of

LARGEST_SIDE = 4096  # as in a manifest
MOST_INPUT = 2**29

Detector = Callable[[Sequence[tuple[str, tuple[int, ...]]]], tuple[str, ...]]
"""Chooses a detector's outputs by name and shape, in its decoder's order; raises UserError."""


@dataclass(frozen=True)
class Normal:
    """A model in the normal form, and what the user's file was.

    Attributes:
        data: the ONNX file; the user's own bytes when nothing was changed.
        changes: what was done, a sentence each.
        name: of the image input, the same in both.
        dtype, layout, batch: of the user's input; `batch` is 0 where it is open.
        size: (height, width) in pixels.
        outputs: the embedding's name; of a detector all outputs, in the decoder's order.
        embedding_size: numbers an image; None where only computing tells, and of a detector.
        detector: (name, shape) of a detector's outputs; empty of a recognition model.
        half: the user's file computes in float16 or bfloat16.
        inside: pixel normalization in the graph.
        computable: the user's model, changed so that onnxruntime computes it; None where it
            computes the file itself.
    """

    data: bytes
    changes: tuple[str, ...]
    name: str
    dtype: str
    layout: Layout
    batch: int
    size: tuple[int, int]
    outputs: tuple[str, ...]
    embedding_size: int | None
    detector: tuple[tuple[str, tuple[int, ...]], ...]
    half: bool
    inside: Inside | None
    computable: bytes | None

    @property
    def output(self) -> str:
        """The embedding's name."""
        return self.outputs[0]


def normalize(
    original: Original,
    *,
    size: tuple[int, int] | None = None,
    output: str | None = None,
    layout_said: Layout | None = None,
    detector: Detector | None = None,
) -> Normal:
    """Bring a model into the normal form.

    Args:
        original: what was read.
        size: (height, width) for a model that leaves them open.
        output: the output that is the embedding, for a model with several.
        layout_said: the input's layout, for a model that leaves it open.
        detector: of a detector, which of its outputs, with their shapes, its decoder takes.

    Raises:
        UserError: the model has no normal form; nothing was written.
    """
    where = f"the model {original.path}"
    check_file(original.proto, original.whole, where)
    check_weights(original.proto)
    try:
        return _normalize(original, where, size, output, layout_said, detector)
    except FarmError:
        raise
    except Exception as error:
        # ONNX's plain checker passes nodes that its strict one does not; what both pass is a bug.
        check_strictly(original.whole, where, error)
        raise


def _normalize(
    original: Original,
    where: str,
    size: tuple[int, int] | None,
    output: str | None,
    layout_said: Layout | None,
    detector: Detector | None,
) -> Normal:
    proto = nodes.copy_of(original.proto)
    changes: list[str] = []

    def note(said: str | None) -> None:
        if said:
            changes.append(said)

    if original.beside:
        note(f"the weights beside the file ({', '.join(original.beside)}) were brought inside")
    image = inputs.image_input(proto, layout_said)
    taken = _size(image, size, where)
    _check_memory(taken, batch.fixed_batch(proto, image.name), where)
    note(inputs.keep_only(proto, image.name))
    nodes.inline_constants(proto.graph)
    half = bool(halves.other_floats(proto) & {"float16", "bfloat16"})
    stated = batch.fixed_batch(proto, image.name)
    # What onnxruntime cannot compute as it stands comes first: the proof starts behind it.
    before = len(changes)
    note(spatial.settle_spatial(proto))
    note(slopes.settle_slopes(proto))
    if not stated:
        note(batch.fix_zero(proto, image.name))
    if halves.other_floats(proto) & {"float64", "bfloat16"}:
        note(halves.to_float32(proto))
    computable = proto.SerializeToString() if len(changes) > before else None
    note(halves.to_float32(proto))
    note(bytes_in.from_bytes(proto, image.name))
    dropout.refuse_training(proto)
    if dropout.needs_it(proto):
        note(dropout.remove_dropout(proto))
    folding = constants.needs_it(proto)
    several = len(proto.graph.output) > 1
    if not batch.is_open(proto, image.name) or folding or several:
        note(batch.to_one(proto, image.name))
    note(inputs.fix_size(proto, image, taken))
    shapes = shapes_of(proto)
    if folding:
        note(constants.fold_constants(proto))
        shapes = shapes_of(proto)
    if detector is None:
        chosen: tuple[str, ...] = (outputs.choose(proto, shapes, output),)
    else:
        chosen = detector(_shaped(proto, shapes))
        outputs.check_named(proto, chosen)
    note(outputs.keep_only(proto, chosen))
    for name in chosen:
        give_batch = outputs.with_batch if detector is None else outputs.detector_batch
        note(give_batch(proto, shapes, name))
    if image.layout == "NHWC":
        note(layout.to_channels_first(proto, image.name))
    note(dense.to_gemm(proto))
    note(dense.without_transpose(proto))
    inside = find_inside(proto)
    note(versions.lower_opset(proto))
    if changes:
        _state_output(proto)
        data = edit.dump(proto)
        check_file(proto, data, "the model's normal form")
    else:
        data = original.data
    return Normal(
        data=data,
        changes=tuple(changes),
        name=image.name,
        dtype=image.dtype,
        layout=image.layout,
        batch=stated,
        size=taken,
        outputs=chosen,
        embedding_size=_numbers(proto, chosen[0]) if detector is None else None,
        detector=_fixed(proto, chosen) if detector is not None else (),
        half=half,
        inside=inside,
        computable=computable,
    )


def _size(image: inputs.ImageInput, said: tuple[int, int] | None, where: str) -> tuple[int, int]:
    fixed = (image.height, image.width)
    if image.height is None or image.width is None:
        if said is None:
            raise UserError(
                f"{where}: height and width of its input '{image.name}' are open",
                "say them: --size 112x112",
            )
    elif said is not None and said != fixed:
        raise UserError(f"{where} takes {fixed[0]}x{fixed[1]}, not {said[0]}x{said[1]}")
    else:
        return image.height, image.width
    if any(f is not None and f != s for f, s in zip(fixed, said, strict=True)):
        raise UserError(
            f"{where} takes {fixed[0]}x{fixed[1]} (None: open), not {said[0]}x{said[1]}"
        )
    return said


def _check_memory(size: tuple[int, int], images: int, where: str) -> None:
    """Raise UserError at an input no face model has: the proof would fill the memory."""
    if max(size) > LARGEST_SIDE:
        raise UserError(
            f"{where} takes images of {size[0]}x{size[1]}; up to {LARGEST_SIDE} are taken",
            "export it with the size of a face",
        )
    if 12 * size[0] * size[1] * images > MOST_INPUT:
        raise UserError(
            f"{where} has a batch fixed to {images}, {12e-9 * size[0] * size[1] * images:.1f} GB",
            "export it with the batch 1 or an open batch",
        )


def _state_output(proto: ModelProto) -> None:
    """Write the inferred shape of the output into the file, which must state one."""
    shapes = shapes_of(proto)
    for output in proto.graph.output:
        shape = shapes.of(output.name)
        stated = output.type.tensor_type
        if shape is None and not stated.HasField("shape"):
            shape = (None, None)
        if shape is None:
            continue
        stated.ClearField("shape")
        stated.shape.SetInParent()
        for number in shape:
            dim = stated.shape.dim.add()
            if number is not None:
                dim.dim_value = number


def _shaped(proto: ModelProto, shapes: Shapes) -> list[tuple[str, tuple[int, ...]]]:
    """Outputs with their shapes; one that is not known is empty, a size that is open 0."""
    return [
        (str(output.name), tuple(size or 0 for size in shapes.of(output.name) or ()))
        for output in proto.graph.output
    ]


def _fixed(proto: ModelProto, names: Sequence[str]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    found = dict(_shaped(proto, shapes_of(proto)))
    return tuple((name, found[name]) for name in names)


def _numbers(proto: ModelProto, name: str) -> int | None:
    shape = shapes_of(proto).of(name)
    sizes = [] if shape is None else list(shape[1:] if len(shape) > 1 else shape)
    known = [size for size in sizes if size is not None]
    return math.prod(known) if known and len(known) == len(sizes) else None
