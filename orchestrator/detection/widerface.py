"""Average precision by WIDER FACE's protocol, for the set and for resamples of its images.

Source: the evaluation code of WIDER FACE (Yang et al., "WIDER FACE: A Face Detection Benchmark",
2016): scores are stretched over the set to 0..1; precision and recall are read at 1,000 thresholds
1 - k/1000; the area lies under the smallest falling curve above them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestrator.detection.matching import Matches

THRESHOLDS = 1000
Float64 = NDArray[np.float64]


def curve(matches: Matches, weights: Float64 | None = None) -> tuple[Float64, Float64]:
    """Recall and precision at each threshold, the highest first, float64 (..., 1000).

    Args:
        matches: of all images.
        weights: how often each image counts, (replicates, images); None: once.

    Returns:
        Recall, NaN where no face counts; precision, 0 where no box does.
    """
    images = len(matches.faces)
    weight = np.ones((1, images)) if weights is None else weights
    place = _places(matches.score)
    hits = np.empty((len(weight), THRESHOLDS))
    boxes = np.empty_like(hits)
    for number, each in enumerate(weight):
        of_box = each[matches.image]
        hits[number] = np.bincount(place, of_box * matches.hit, THRESHOLDS)
        boxes[number] = np.bincount(place, of_box * matches.counts, THRESHOLDS)
    hits, boxes = hits.cumsum(1), boxes.cumsum(1)
    faces = weight @ matches.faces
    some = np.where(faces > 0, faces, np.nan)
    recall = hits / some[:, None]
    precision = np.divide(hits, boxes, out=np.zeros_like(hits), where=boxes > 0)
    return (recall[0], precision[0]) if weights is None else (recall, precision)


def average_precision(recall: Float64, precision: Float64) -> Float64:
    """The area under the smallest falling curve above the points; NaN where no face counts.

    Args:
        recall, precision: float64 (..., thresholds), from `curve`.
    """
    highest = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    steps = np.diff(recall, axis=-1, prepend=0.0)
    area: Float64 = (steps * highest).sum(-1)
    return area


def _places(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """At which threshold each box first counts; equal scores all over count as the best."""
    if scores.size == 0:
        return np.zeros(0, np.int64)
    values = scores.astype(np.float64)
    low, high = values.min(), values.max()
    stretched = (values - low) / (high - low) if high > low else np.ones_like(values)
    rising = (1 - np.arange(1, THRESHOLDS + 1) / THRESHOLDS)[::-1]
    return THRESHOLDS - np.searchsorted(rising, stretched, side="right")
