"""A detector's outputs against the head that its manifest names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orchestrator.errors import UserError
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.yamlfile import nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.detection import Output

Shaped = Sequence[tuple[str, tuple[int, ...]]]


def outputs_of(spec: ModelSpec) -> Callable[[Shaped], tuple[str, ...]]:
    """What finds a detector's outputs, in the order of its head's decoder, by name and shape.

    Raises (when called):
        UserError: an unknown head, outputs that the file does not have, or that do not fit it.
    """
    from orchestrator.detection import HEADS, Output

    wanted = spec.detection
    if wanted is None:
        raise ValueError(f"{spec.name} is no detector")

    def found(shaped: Shaped) -> tuple[str, ...]:
        if wanted.head not in HEADS:
            raise UserError(
                f"head: there is no detection head {wanted.head!r}{nearest(wanted.head, HEADS)}",
                f"known heads: {', '.join(HEADS)}",
            )
        outputs = [Output(name, shape) for name, shape in shaped]
        known = {output.name: output for output in outputs}
        for name in wanted.outputs:
            if name not in known:
                raise UserError(
                    f"outputs: {spec.file} has no output {name!r}{nearest(name, known)}",
                    f"it has: {', '.join(known)}",
                )
        chosen = [known[name] for name in wanted.outputs] or outputs
        names = HEADS[wanted.head].recognize(chosen, spec.input.size)
        if names is None:
            raise UserError(_unfit(spec, chosen), "`farm init --model` finds head and outputs")
        if wanted.outputs and names != wanted.outputs:
            raise UserError(
                f"outputs: the head {wanted.head!r} takes them in the order {', '.join(names)}",
                "leave `outputs:` out and they are found by their shapes",
            )
        return names

    return found


def refuse_undecodable(spec: ModelSpec, features: NDArray[np.float32]) -> None:
    """See that a detector's outputs over a few images become boxes, before anything is quantized.

    Args:
        spec: with its outputs known.
        features: float32 (n, row_size), of the float32 model.

    Raises:
        UserError: they do not: logits in the place of scores, boxes that are not decoded yet.
    """
    from orchestrator.detection import DetectionError, decoded, detector_spec

    detector = detector_spec(spec.detector_meta)
    try:
        for row in features:
            decoded(row, detector)
    except DetectionError as error:
        raise UserError(f"{spec.file}: {error}") from error


def _unfit(spec: ModelSpec, outputs: Sequence[Output]) -> str:
    from orchestrator.detection import DetectionError, recognized

    assert spec.detection is not None
    shown = ", ".join(f"{output.name} {list(output.shape)}" for output in outputs)
    height, width = spec.input.size
    text = (
        f"head: the outputs of {spec.file} are not those of a {spec.detection.head!r} head at an "
        f"input of {height} x {width} (high x wide): {shown}"
    )
    try:
        other, _ = recognized(outputs, spec.input.size)
    except DetectionError:
        return text
    return f"{text}; they are those of {other.name!r}"
