"""The pictures in which a detector errs most, as boxes: what it missed, and what it made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from orchestrator.detection import Detections, TruthSet
from orchestrator.detection.boxes import Floats
from orchestrator.detection.figures import subset_matches

Kind = Literal["found", "missed", "ignored", "hit", "false"]


@dataclass(frozen=True)
class Box:
    """A box to draw: x1, y1, x2, y2 in pixels of the picture.

    Attributes:
        kind: of a face: `found`, `missed` or `ignored`; of what the detector found: `hit` or
            `false`.
    """

    corners: tuple[float, float, float, float]
    kind: Kind


@dataclass(frozen=True)
class ErringImage:
    """A picture with errors; `size` is (height, width) in pixels."""

    name: str
    size: tuple[int, int]
    missed: int
    false: int
    boxes: tuple[Box, ...]


def worst_images(
    found: Sequence[Detections], truth: TruthSet, subset: str, least_score: float, most: int
) -> list[ErringImage]:
    """The pictures with the most errors, the worst first; none without an error.

    Args:
        found: what the detector found in each picture.
        truth: of the same pictures.
        subset: of the faces that count; others are ignored.
        least_score: boxes below it are not there.
        most: so many pictures at the most.
    """
    matches = subset_matches(found, truth, subset)
    taken = matches.score >= least_score
    images = len(truth)
    false = np.bincount(matches.image[taken & matches.counts & ~matches.hit], minlength=images)
    missed = matches.faces - np.bincount(matches.image[taken & matches.hit], minlength=images)
    errors = missed + false
    order = np.argsort(-errors, kind="stable")[:most]
    worst = []
    for number in order[errors[order] > 0].tolist():
        image, boxes = truth.images[number], found[number]
        mine = matches.image == number
        ranked = np.argsort(-boxes.scores, kind="stable")
        shown = taken[mine]
        hit = matches.hit[mine] & shown
        faces = set(matches.face[mine][hit].tolist())
        counts = image.subsets[subset] & ~image.ignored
        drawn = [
            Box(_corners(box), "ignored" if not counts[n] else "found" if n in faces else "missed")
            for n, box in enumerate(image.boxes)
        ]
        for place in np.flatnonzero(shown & matches.counts[mine]).tolist():
            corners = _corners(boxes.boxes[ranked[place]])
            drawn.append(Box(corners, "hit" if hit[place] else "false"))
        worst.append(
            ErringImage(
                image.name, image.size, int(missed[number]), int(false[number]), tuple(drawn)
            )
        )
    return worst


def _corners(box: Floats) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(float(v), 1) for v in box)
    return x1, y1, x2, y2
