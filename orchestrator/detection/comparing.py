"""A detector against its float32 reference, over the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.detection.boxes import Detections, overlaps
from orchestrator.detection.figures import (
    DetectionPolicy,
    Figure,
    ap_of,
    estimated,
    landmark_error,
    largest_subset,
    recall_at,
    resamples,
    subset_matches,
    threshold_at,
)
from orchestrator.detection.matching import LEAST_OVERLAP, Matches
from orchestrator.detection.truth import TruthSet
from orchestrator.detection.widerface import Float64
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
    """Cell minus reference, paired over resampled images.

    Attributes:
        ap: by subset.
        p: two-sided, for no difference of the largest subset's AP: the achieved significance level
            of the bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 15);
            never below 2 / (resamples + 1). NaN without a face.
        recall: of the largest subset, at `false_positives` an image.
        landmark_error: of the faces that each found.
        lost, gained: faces of the largest subset that only the reference, or only the cell, finds
            at the fixed threshold.
    """

    ap: Mapping[str, Estimate]
    p: float
    recall: Estimate
    landmark_error: Estimate
    agreement: Agreement
    fixed: AtFixedThreshold
    lost: int
    gained: int


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

    def pair(name: str) -> tuple[Matches, Matches]:
        return subset_matches(cell, truth, name), subset_matches(reference, truth, name)

    def paired(mine: Figure, theirs: Figure) -> Estimate:
        return estimated(lambda w: mine(w) - theirs(w), weights, policy.confidence)

    def of_ap(matches: Matches) -> Figure:
        return lambda w: ap_of(matches, w)

    mine, theirs = pair(largest_subset(truth))
    threshold = threshold_at(theirs, false_positives)
    above = mine.score >= threshold
    faces = float(mine.faces.sum()) or np.nan
    ours, before = _hit(mine, threshold), _hit(theirs, threshold)
    return DetectionDifference(
        ap={name: paired(*map(of_ap, pair(name))) for name in truth.subsets},
        p=_achieved_level(ap_of(mine, weights) - ap_of(theirs, weights)),
        recall=paired(recall_at(mine, false_positives), recall_at(theirs, false_positives)),
        landmark_error=paired(
            landmark_error(cell, truth, mine), landmark_error(reference, truth, theirs)
        ),
        agreement=agreement(reference, cell, threshold),
        fixed=AtFixedThreshold(
            threshold,
            len(ours) / faces,
            len(before) / faces,
            float((mine.counts & ~mine.hit & above).sum() / len(truth)),
        ),
        lost=len(before - ours),
        gained=len(ours - before),
    )


def _hit(matches: Matches, threshold: float) -> set[tuple[int, int]]:
    """(image, face) of the faces that are found at a threshold."""
    chosen = matches.hit & (matches.score >= threshold)
    pairs = zip(matches.image[chosen].tolist(), matches.face[chosen].tolist(), strict=True)
    return set(pairs)


def _achieved_level(differences: Float64) -> float:
    known = differences[np.isfinite(differences)]
    if not known.size:
        return float("nan")
    rarer = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (known.size + 1))


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
