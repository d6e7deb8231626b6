"""What counts as a face, and which faces are easy, medium or hard: a rule, in rendered scenes.

The subsets are nested as WIDER FACE's are (hard contains medium contains easy), and use its limits
of height (50, 30 and 10 pixels); occlusion and blur, which WIDER FACE's annotators judged, are
computed. They are rendered scenes scored by WIDER FACE's protocol, and never WIDER FACE.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestrator.detection.truth import Truth
from orchestrator.images.scenes.heads import Head

SUBSETS = ("easy", "medium", "hard")


@dataclass(frozen=True)
class Seen:
    """What is seen of a face.

    Attributes:
        share: of its pixels, those that are inside the picture and covered by nothing.
        blur: standard deviation of all blur, in heights of the face.
    """

    share: float
    blur: float


@dataclass(frozen=True)
class Rule:
    """Which faces a subset has: at least this high and visible, at most this blurred."""

    height: float  # of the box, pixels
    share: float
    blur: float


RULES = {
    "easy": Rule(50, 0.85, 0.03),
    "medium": Rule(30, 0.6, 0.05),
    "hard": Rule(10, 0.35, 1.0),
}


def truth_of(name: str, size: tuple[int, int], found: list[Head], seen: list[Seen]) -> Truth:
    """The truth of one scene.

    A box is tight around forehead, chin and cheeks as if nothing covered them, cut at the picture's
    edge. A point outside the picture is unknown. Faces that not even the hard subset has are
    ignored.
    """
    height, width = size
    edge = np.array([width - 1, height - 1], np.float64)
    boxes, points = np.zeros((len(found), 4), np.float32), np.zeros((len(found), 5, 2), np.float32)
    for k, head in enumerate(found):
        contour = head.contour()
        boxes[k] = np.clip(np.concatenate([contour.min(0), contour.max(0)]), 0, np.tile(edge, 2))
        marks = head.points()
        marks[((marks < 0) | (marks > edge)).any(1)] = np.nan
        points[k] = marks
    tall = boxes[:, 3] - boxes[:, 1]
    share = np.array([each.share for each in seen], np.float64)
    blur = np.array([each.blur for each in seen], np.float64)
    subsets = {
        subset: (tall >= rule.height) & (share >= rule.share) & (blur <= rule.blur)
        for subset, rule in RULES.items()
    }
    return Truth(name, size, boxes, points, ~subsets["hard"], subsets)
