"""YuNet (2023): class and object scores, centre offsets and logarithmic sides, a box a cell.

Source: Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", 2023, and OpenCV's
modules/objdetect/src/face_detect.cpp: score = sqrt(class x object), both clipped to 0..1; centre =
(cell + offset) x stride; sides = exp(value) x stride; point = (cell + offset) x stride. Outputs
cls_8, cls_16, cls_32, obj_..., bbox_..., kps_....
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.detection.boxes import Detections, Floats
from orchestrator.detection.errors import DetectionError
from orchestrator.detection.heads.head import (
    DetectionHead,
    Output,
    Size,
    cells,
    grid,
    joined,
    probabilities,
    rows,
    sides,
)

STRIDES = (8, 16, 32)
_PARTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


def recognize(outputs: Sequence[Output], size: Size) -> tuple[str, ...] | None:
    """By names: class and object scores have equal shapes."""
    names = tuple(f"{part}_{stride}" for part in _PARTS for stride in STRIDES)
    found = {output.name: output.size for output in outputs}
    wanted = {
        f"{part}_{stride}": int(np.prod(cells(size, stride))) * width
        for part, width in _PARTS.items()
        for stride in STRIDES
    }
    return names if found == wanted else None


def decode(outputs: Sequence[Floats], size: Size, least: float) -> Detections:
    """See `DetectionHead.decode`."""
    if len(outputs) != len(_PARTS) * len(STRIDES):
        raise DetectionError(f"a YuNet head has 12 outputs, not {len(outputs)}")
    found = []
    for level, stride in enumerate(STRIDES):
        place = grid(size, stride)
        count, by = len(place), np.float32(stride)
        one, other, box, marks = (
            rows(outputs[number * len(STRIDES) + level], count, width, f"{part}_{stride}")
            for number, (part, width) in enumerate(_PARTS.items())
        )
        for scores, part in ((one, "cls"), (other, "obj")):
            probabilities(scores, f"the scores {part}_{stride}")
        scores = np.sqrt(np.clip(one, 0, 1) * np.clip(other, 0, 1))[:, 0]
        chosen = np.flatnonzero(scores >= least)
        cell, box = place[chosen], box[chosen]
        centre, half = (cell + box[:, :2]) * by, sides(box[:, 2:]) * by / np.float32(2)
        points = (cell[:, None] + marks[chosen].reshape(-1, 5, 2)) * by
        boxes = np.concatenate([centre - half, centre + half], 1)
        found.append(Detections(boxes, scores[chosen], points))
    return joined(found)


YUNET = DetectionHead("yunet", lambda outputs: True, recognize, decode)
