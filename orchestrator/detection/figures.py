"""A detector's figures over a test set, with intervals by resampling its images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.detection.boxes import Detections
from orchestrator.detection.errors import DetectionError
from orchestrator.detection.matching import Matches, matched
from orchestrator.detection.truth import TruthSet
from orchestrator.detection.widerface import Float64, average_precision, curve
from orchestrator.scoring import Estimate
from orchestrator.scoring.intervals import percentile_interval

Figure = Callable[[Float64 | None], Float64]
"""From how often each image counts, (replicates, images), to a figure each; None: each once."""

HEIGHTS = ((0.0, 24.0), (24.0, 48.0), (48.0, 96.0), (96.0, np.inf))
"""Heights of faces in pixels of the original image, for AP by size: from, below."""


@dataclass(frozen=True)
class DetectionPolicy:
    """How detection is evaluated.

    Attributes:
        confidence: of the intervals, 0 to 1.
        bootstrap: resamples of the images.
        seed: of the resamples; rows of one table use the same ones.
        false_positives: an image, at which recall is given.
    """

    confidence: float = 0.95
    bootstrap: int = 1000
    seed: int = 0
    false_positives: tuple[float, ...] = (0.1, 1.0)


@dataclass(frozen=True, eq=False)
class DetectionFigures:
    """What a detector reaches; rates are fractions 0..1, NaN where nothing is there to count.

    Attributes:
        ap: average precision of each subset.
        ap_by_height: of the faces of each range of `HEIGHTS`.
        recall: at each number of false positives an image, over the largest subset; the threshold
            is chosen again in each resample, as for TAR.
        threshold: the lowest score that keeps to each of these numbers; inf where none does.
        landmark_error: mean distance of the five points from the true ones, over the square root
            of the box's area (NME), of the faces that were found.
        curve: recall and precision of each subset at 1,000 thresholds.
        images, faces, boxes: how many there are; faces those of the largest subset.
    """

    ap: Mapping[str, Estimate]
    ap_by_height: Mapping[str, Estimate]
    recall: Mapping[float, Estimate]
    threshold: Mapping[float, float]
    landmark_error: Estimate
    curve: Mapping[str, tuple[Float64, Float64]]
    images: int
    faces: int
    boxes: int


def resamples(images: int, policy: DetectionPolicy) -> Float64:
    """How often each image counts in each resample, float64 (bootstrap, images)."""
    generator = np.random.default_rng(policy.seed)
    even = np.full(images, 1 / images)
    return generator.multinomial(images, even, policy.bootstrap).astype(np.float64)


def evaluate(
    found: Sequence[Detections], truth: TruthSet, policy: DetectionPolicy
) -> DetectionFigures:
    """All figures of a detector.

    Args:
        found: what it found in each image, in pixels of the original image.
        truth: of the same images, one at least.

    Raises:
        DetectionError: no images, or another number of them.
    """
    if not len(truth):
        raise DetectionError("there is no image to evaluate")
    weights = resamples(len(truth), policy)
    by_subset = {name: subset_matches(found, truth, name) for name in truth.subsets}
    largest = by_subset[largest_subset(truth)]

    def ap(matches: Matches) -> Estimate:
        return estimated(lambda w: ap_of(matches, w), weights, policy.confidence)

    recall, threshold = {}, {}
    for rate in policy.false_positives:
        threshold[rate] = threshold_at(largest, rate)
        recall[rate] = estimated(recall_at(largest, rate), weights, policy.confidence)
    return DetectionFigures(
        ap={name: ap(matches) for name, matches in by_subset.items()},
        ap_by_height={
            height_name(*heights): ap(matched(found, truth, _of_height(truth, *heights), heights))
            for heights in HEIGHTS
        },
        recall=recall,
        threshold=threshold,
        landmark_error=estimated(landmark_error(found, truth, largest), weights, policy.confidence),
        curve={name: curve(matches) for name, matches in by_subset.items()},
        images=len(truth),
        faces=int(largest.faces.sum()),
        boxes=len(largest.score),
    )


def subset_matches(found: Sequence[Detections], truth: TruthSet, name: str) -> Matches:
    """Boxes matched with the faces of one subset."""
    return matched(found, truth, [image.subsets[name] for image in truth.images])


def largest_subset(truth: TruthSet) -> str:
    """The subset with the most faces; of equal ones the last, which is the hardest."""
    return max(reversed(truth.subsets), key=lambda s: sum(i.subsets[s].sum() for i in truth.images))


def ap_of(matches: Matches, weights: Float64 | None) -> Float64:
    """Average precision, (replicates,), or of the set as it is."""
    return np.atleast_1d(average_precision(*curve(matches, weights)))


def estimated(figure: Figure, weights: Float64, confidence: float) -> Estimate:
    """A figure and its percentile interval over the resamples in which it is defined."""
    value = float(figure(None)[0])
    replicates = figure(weights)
    replicates = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or replicates.size == 0:
        return Estimate(value, np.nan, np.nan)
    low, high = percentile_interval(replicates, confidence)
    return Estimate(value, low, high)


def threshold_at(matches: Matches, rate: float) -> float:
    """The lowest score at which at most `rate` false positives an image are left; inf: none."""
    ranked = _Ranked(matches)
    at = ranked.last_within(np.ones(len(matches.faces)), rate)
    return float(ranked.scores[at]) if at >= 0 else float("inf")


class _Ranked:
    """Boxes in the order of their scores; equal scores cannot be parted."""

    def __init__(self, matches: Matches) -> None:
        order = np.argsort(-matches.score, kind="stable")
        self.scores = matches.score[order]
        self.image, self.hit = matches.image[order], matches.hit[order]
        self._false = (matches.counts & ~matches.hit)[order]
        self._ends = np.append(self.scores[1:] != self.scores[:-1], True)[: order.size]

    def last_within(self, weight: Float64, rate: float) -> int:
        """The last box that keeps to `rate` false positives an image; -1: not even the first.

        Args:
            weight: how often each image counts, (images,).
        """
        false = np.cumsum(self._false * weight[self.image])
        within = np.flatnonzero(self._ends & (false <= rate * weight.sum() + 1e-9))
        return int(within[-1]) if within.size else -1


def recall_at(matches: Matches, rate: float) -> Figure:
    """Recall at `rate` false positives an image; each resample chooses its own threshold."""
    ranked = _Ranked(matches)

    def recall(weights: Float64 | None) -> Float64:
        found = np.zeros(1 if weights is None else len(weights))
        for number in range(len(found)):
            weight = np.ones(len(matches.faces)) if weights is None else weights[number]
            faces = float(weight @ matches.faces)
            end = ranked.last_within(weight, rate) + 1
            hits = float(ranked.hit[:end] @ weight[ranked.image[:end]])
            found[number] = hits / faces if faces else np.nan
        return found

    return recall


def _ratio_of(over: Float64, under: Float64) -> Figure:
    """Of sums over images, each as often as it counts."""

    def ratio(weights: Float64 | None) -> Float64:
        weight = np.ones((1, len(over))) if weights is None else weights
        below = weight @ under
        shares: Float64 = (weight @ over) / np.where(below > 0, below, np.nan)
        return shares

    return ratio


def landmark_error(found: Sequence[Detections], truth: TruthSet, matches: Matches) -> Figure:
    """Mean distance of the five points from the true ones (NME), of the faces that were found."""
    errors, counts = np.zeros(len(truth)), np.zeros(len(truth))
    start = 0
    for number, (boxes, image) in enumerate(zip(found, truth.images, strict=True)):
        part = slice(start, start + len(boxes))
        start += len(boxes)
        hits = np.flatnonzero(matches.hit[part])
        if boxes.points is None or hits.size == 0:
            continue
        order = np.argsort(-boxes.scores, kind="stable")
        faces = matches.face[part][hits]
        distance = np.linalg.norm(boxes.points[order][hits] - image.points[faces], axis=2).mean(1)
        sides = image.boxes[faces, 2:] - image.boxes[faces, :2]
        error = distance / np.sqrt(sides.prod(1))
        known = np.isfinite(error)
        errors[number], counts[number] = error[known].sum(), known.sum()
    return _ratio_of(errors, counts)


def _of_height(truth: TruthSet, low: float, high: float) -> list[NDArray[np.bool_]]:
    heights = [image.boxes[:, 3] - image.boxes[:, 1] for image in truth.images]
    return [(low <= height) & (height < high) for height in heights]


def height_name(low: float, high: float) -> str:
    """A range of `HEIGHTS` in words."""
    if low == 0:
        return f"below {high:g} px"
    return f"{low:g} px and more" if high == np.inf else f"{low:g} to {high:g} px"
