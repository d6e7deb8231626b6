"""What a head is: how its outputs are recognized, and how they become boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.detection.boxes import Detections, Floats
from orchestrator.detection.errors import DetectionError

Size = tuple[int, int]  # height, width in pixels


@dataclass(frozen=True)
class Output:
    """An output of a model: its name, and its shape with a batch of one."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class DetectionHead:
    """A kind of raw outputs.

    Attributes:
        name: as in a model's manifest.
        has_points: from the number of outputs to whether each box has five points.
        recognize: from a model's outputs and its input's size to the outputs' names in the
            decoder's order; None where they do not fit the head.
        decode: from the outputs (float32, in that order, of the declared shapes), the input's size
            and the least score to the boxes in pixels of the input, before NMS.
    """

    name: str
    has_points: Callable[[int], bool]
    recognize: Callable[[Sequence[Output], Size], tuple[str, ...] | None]
    decode: Callable[[Sequence[Floats], Size, float], Detections]


_SLACK = 0.05  # what quantization may add to a probability
_MOST_EXPONENT = np.float32(10)


def probabilities(scores: Floats, what: str) -> Floats:
    """Scores, once it is sure that they are probabilities.

    Raises:
        DetectionError: some are not between 0 and 1: logits, as a model without its last sigmoid or
            softmax has them.
    """
    low, high = float(scores.min()), float(scores.max())
    if low < -_SLACK or high > 1 + _SLACK:
        raise DetectionError(
            f"{what} are {low:.3g} to {high:.3g}, expected 0 to 1: export the model with its last "
            "sigmoid or softmax"
        )
    return scores


def sides(logarithms: Floats) -> Floats:
    """exp, bounded: what a damaged or badly quantized model says must not overflow."""
    grown: Floats = np.exp(np.minimum(logarithms, _MOST_EXPONENT))
    return grown


def rows(output: Floats, count: int, width: int, what: str) -> Floats:
    """An output as (count, width).

    Raises:
        DetectionError: it has another number of values.
    """
    if output.size != count * width:
        raise DetectionError(
            f"{what} has {output.size} values, expected {count} x {width} for this input's size"
        )
    return output.reshape(count, width)


def cells(size: Size, stride: int) -> Size:
    """Rows and columns of a feature map; a side that the stride does not divide is rounded up."""
    return -(-size[0] // stride), -(-size[1] // stride)


def grid(size: Size, stride: int, repeats: int = 1) -> NDArray[np.float32]:
    """Column and row of every cell, (rows x columns x repeats, 2), each cell `repeats` times."""
    height, width = cells(size, stride)
    y, x = np.mgrid[0:height, 0:width]
    return np.repeat(np.stack([x, y], 2).reshape(-1, 2), repeats, 0).astype(np.float32)


def joined(parts: Sequence[Detections]) -> Detections:
    """Several scales' boxes as one list."""
    points = [part.points for part in parts if part.points is not None]
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate(points) if points else None,
    )
