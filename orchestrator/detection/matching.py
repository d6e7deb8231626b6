"""Which boxes found which faces, by WIDER FACE's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.detection.boxes import Detections, overlaps
from orchestrator.detection.errors import DetectionError
from orchestrator.detection.truth import Truth, TruthSet

LEAST_OVERLAP = 0.5


@dataclass(frozen=True, eq=False)
class Matches:
    """All boxes of a set of images, as one subset of faces counts them.

    Attributes:
        image: int64 (n,), the image of each box.
        score: float32 (n,).
        hit: bool (n,), it is the first to find a face that counts.
        counts: bool (n,), it is a hit or a false positive; a box on an ignored face is neither.
        face: int64 (n,), the face of its image that it overlaps most, -1 below the least overlap.
        faces: int64 (images,), faces that count in each image.
    """

    image: NDArray[np.int64]
    score: NDArray[np.float32]
    hit: NDArray[np.bool_]
    counts: NDArray[np.bool_]
    face: NDArray[np.int64]
    faces: NDArray[np.int64]


def matched(
    found: Sequence[Detections],
    truth: TruthSet,
    members: Sequence[NDArray[np.bool_]],
    heights: tuple[float, float] = (-np.inf, np.inf),
) -> Matches:
    """Match every image's boxes with its faces.

    Source: WIDER FACE's evaluation (Yang et al., 2016). Best score first, each box looks at the
    face that it overlaps most (sides count both end pixels, at least 0.5): a face that does not
    count takes the box out; the first box on a face that counts is a hit, each further one a false
    positive. Unlike there, boxes in an image without any face are false positives.

    Args:
        found: one a image.
        truth: as many images.
        members: for each image bool (faces,), those that count.
        heights: from, below, in pixels: a box of another height that is on no face is no false
            positive, as in COCO's evaluation by size.

    Raises:
        DetectionError: another number of images.
    """
    if len(found) != len(truth):
        raise DetectionError(f"boxes of {len(found)} images for a truth of {len(truth)}")
    parts = [
        _one(boxes, image, member & ~image.ignored, heights)
        for boxes, image, member in zip(found, truth.images, members, strict=True)
    ]
    sizes = [len(boxes) for boxes in found]
    none = np.zeros(0, bool)
    return Matches(
        np.repeat(np.arange(len(found)), sizes),
        np.concatenate([np.zeros(0, np.float32), *(b.scores[_order(b)] for b in found)]),
        np.concatenate([none, *(part[0] for part in parts)]),
        np.concatenate([none, *(part[1] for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part[2] for part in parts)]),
        np.array(
            [int((m & ~i.ignored).sum()) for m, i in zip(members, truth.images, strict=True)],
            np.int64,
        ),
    )


def _order(found: Detections) -> NDArray[np.intp]:
    return np.argsort(-found.scores, kind="stable")


def _one(
    found: Detections,
    image: Truth,
    member: NDArray[np.bool_],
    heights: tuple[float, float],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
    """hit, counts and face of each box, best score first."""
    count = len(found)
    ordered = found.boxes[_order(found)]
    tall = ordered[:, 3] - ordered[:, 1]
    hit, counts = np.zeros(count, bool), (heights[0] <= tall) & (tall < heights[1])
    face = np.full(count, -1, np.int64)
    if count == 0 or len(image) == 0:
        return hit, counts, face
    overlap = overlaps(ordered, image.boxes, inclusive=True)
    best = overlap.argmax(1)
    close = overlap[np.arange(count), best] >= LEAST_OVERLAP
    face[close] = best[close]
    counts[close] = member[best[close]]
    candidates = np.flatnonzero(close & counts)
    _, first = np.unique(best[candidates], return_index=True)
    hit[candidates[first]] = True
    return hit, counts, face
