"""A detector against its float32 reference, over the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.detection.boxes import Detections, overlaps
from orchestrator.detection.figures import (
    DetectionPolicy,
    ap_of,
    estimated,
    largest_subset,
    resamples,
    subset_matches,
    threshold_at,
)
from orchestrator.detection.matching import LEAST_OVERLAP
from orchestrator.detection.truth import TruthSet
from orchestrator.scoring import Estimate


@dataclass(frozen=True)
class Agreement:
    """How far two detectors find the same boxes.

    Attributes:
        share: of both detectors' boxes, those that have a partner; 1 where neither found any.
        overlap: mean intersection over union of the pairs; NaN without any.
    """

    share: float
    overlap: float


@dataclass(frozen=True)
class AtFixedThreshold:
    """What an application sees that keeps the score threshold which it chose with float32.

    AP hides a shift of all scores; this shows it.

    Attributes:
        threshold: the lowest score at which float32 has at most `false_positives` an image.
        recall, reference_recall: of the cell and of float32 at that score; NaN without a face.
        false_positives: an image, of the cell at that score.
    """

    threshold: float
    recall: float
    reference_recall: float
    false_positives: float


@dataclass(frozen=True)
class DetectionDifference:
    """Cell minus reference; `ap` by subset, paired over resampled images."""

    ap: Mapping[str, Estimate]
    agreement: Agreement
    fixed: AtFixedThreshold


def compare(
    reference: Sequence[Detections],
    cell: Sequence[Detections],
    truth: TruthSet,
    policy: DetectionPolicy,
    false_positives: float = 0.1,
) -> DetectionDifference:
    """Differences of a cell from its reference.

    Args:
        reference, cell: what each found in each image, in pixels of the original image.
        truth: of the same images.
        false_positives: an image, at which the score threshold is fixed on the reference.

    Raises:
        DetectionError: another number of images.
    """
    weights = resamples(len(truth), policy)

    def difference(name: str) -> Estimate:
        mine, theirs = (subset_matches(found, truth, name) for found in (cell, reference))
        return estimated(lambda w: ap_of(mine, w) - ap_of(theirs, w), weights, policy.confidence)

    differences = {name: difference(name) for name in truth.subsets}
    name = largest_subset(truth)
    mine, theirs = (subset_matches(found, truth, name) for found in (cell, reference))
    threshold = threshold_at(theirs, false_positives)
    above = mine.score >= threshold
    faces = float(mine.faces.sum()) or np.nan
    return DetectionDifference(
        differences,
        agreement(reference, cell, threshold),
        AtFixedThreshold(
            threshold,
            float((mine.hit & above).sum() / faces),
            float((theirs.hit & (theirs.score >= threshold)).sum() / faces),
            float((mine.counts & ~mine.hit & above).sum() / len(truth)),
        ),
    )


def agreement(
    first: Sequence[Detections], second: Sequence[Detections], least_score: float
) -> Agreement:
    """Pair the boxes of two detectors, the greatest overlap first, from 0.5 on.

    Args:
        first, second: one a image.
        least_score: boxes below it are left out.
    """
    pairs: list[float] = []
    boxes = 0
    for one, other in zip(first, second, strict=True):
        mine, theirs = (d.boxes[d.scores >= least_score] for d in (one, other))
        boxes += len(mine) + len(theirs)
        overlap = overlaps(mine, theirs, inclusive=True)
        while overlap.size and overlap.max() >= LEAST_OVERLAP:
            row, column = np.unravel_index(overlap.argmax(), overlap.shape)
            pairs.append(float(overlap[row, column]))
            overlap[row, :] = overlap[:, column] = 0
    share = 2 * len(pairs) / boxes if boxes else 1.0
    return Agreement(share, float(np.mean(pairs)) if pairs else float("nan"))
