"""A detector's feature row into boxes of the original image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.detection.boxes import Detections, Floats
from orchestrator.detection.errors import DetectionError
from orchestrator.detection.heads.head import Output, Size
from orchestrator.detection.heads.registry import HEADS
from orchestrator.detection.letterbox import ratio
from orchestrator.detection.nms import suppressed


@dataclass(frozen=True)
class DetectorSpec:
    """How a detector's outputs are read.

    Attributes:
        head: a name of `heads.registry.HEADS`.
        outputs: in the decoder's order.
        input_size: height, width of the model's input in pixels.
        min_score: boxes below it are dropped before NMS, 0 to 1.
        nms_iou: overlap above which the worse of two boxes is dropped, 0 to 1.
    """

    head: str
    outputs: tuple[Output, ...]
    input_size: Size
    min_score: float = 0.02
    nms_iou: float = 0.4

    @property
    def row_size(self) -> int:
        """Values of a feature row: all outputs, one after another."""
        return sum(output.size for output in self.outputs)


def detector_spec(about: Mapping[str, Any]) -> DetectorSpec:
    """A detector from plain JSON: `head`, `outputs` (name and shape each), `input_size`,
    `min_score`, `nms_iou`."""
    height, width = about["input_size"]
    return DetectorSpec(
        head=about["head"],
        outputs=tuple(Output(name, tuple(shape)) for name, shape in about["outputs"]),
        input_size=(height, width),
        min_score=about["min_score"],
        nms_iou=about["nms_iou"],
    )


def split(row: Floats, spec: DetectorSpec) -> list[Floats]:
    """The outputs in a feature row, each in its own shape.

    Args:
        row: float32 (row_size,).

    Raises:
        DetectionError: another length, or values that are not finite.
    """
    if row.shape != (spec.row_size,):
        raise DetectionError(f"a row of shape {row.shape}, expected ({spec.row_size},)")
    if not np.isfinite(row).all():
        bad = int((~np.isfinite(row)).sum())
        raise DetectionError(f"{bad} of {row.size} values are not finite")
    ends = np.cumsum([output.size for output in spec.outputs])[:-1]
    parts = np.split(row, ends)
    return [part.reshape(o.shape) for part, o in zip(parts, spec.outputs, strict=True)]


def detect(row: Floats, spec: DetectorSpec, original: Size) -> Detections:
    """Decode a feature row, drop overlapping boxes, and go back to the original image's pixels.

    Args:
        row: float32 (row_size,), of an image that `letterbox` brought to the input's size.
        original: height, width of the image before that.

    Returns:
        Boxes clipped to the original image, best score first; without those that had no area in it.

    Raises:
        DetectionError: an unknown head, or a row that is not of this detector.
    """
    return finished(decoded(row, spec), spec, original)


def decoded(row: Floats, spec: DetectorSpec) -> Detections:
    """All boxes of a feature row that reach the least score, in pixels of the input, before NMS.

    Raises:
        DetectionError: an unknown head, or a row that is not of this detector.
    """
    if spec.head not in HEADS:
        raise DetectionError(f"no head {spec.head!r}; known: {', '.join(HEADS)}")
    return HEADS[spec.head].decode(split(row, spec), spec.input_size, spec.min_score)


def finished(raw: Detections, spec: DetectorSpec, original: Size) -> Detections:
    """Decoded boxes after NMS, in pixels of the original image; see `detect`."""
    found = suppressed(raw, spec.nms_iou)
    by = np.float32(ratio(original, spec.input_size))
    height, width = original
    limits = np.array([width, height, width, height], np.float32)
    boxes = np.clip(found.boxes / by, 0, limits).astype(np.float32)
    points = None if found.points is None else (found.points / by).astype(np.float32)
    inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return Detections(boxes, found.scores, points).chosen(inside)
