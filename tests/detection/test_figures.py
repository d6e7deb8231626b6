"""Average precision and the rest, against a literal writing of the protocol and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.detection.boxes import Detections
from orchestrator.detection.comparing import compare
from orchestrator.detection.errors import DetectionError
from orchestrator.detection.figures import DetectionPolicy, evaluate
from orchestrator.detection.truth import Truth, TruthSet

QUICK = DetectionPolicy(bootstrap=100)
FACE = [10.0, 10.0, 50.0, 60.0]
FAR = [200.0, 100.0, 240.0, 150.0]


def image(boxes, subsets=None, ignored=None, points=None, name="i") -> Truth:
    count = len(boxes)
    every = {"all": np.ones(count, bool)} if subsets is None else subsets
    return Truth(
        name,
        (240, 320),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full((count, 5, 2), np.nan, np.float32) if points is None else points,
        np.zeros(count, bool) if ignored is None else np.array(ignored, bool),
        every,
    )


def boxes(*scored: tuple[list[float], float], points=None) -> Detections:
    return Detections(
        np.array([box for box, _ in scored], np.float32).reshape(-1, 4),
        np.array([score for _, score in scored], np.float32),
        points,
    )


def ap(found: list[Detections], *images: Truth) -> float:
    return evaluate(found, TruthSet(images, ("all",)), QUICK).ap["all"].value


def overlap(a, b) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0]) + 1
    h = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1]):
        return 0.0
    areas = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
    return w * h / (sum(areas) - w * h)


def literal_ap(found: list[Detections], images: tuple[Truth, ...], subset: str) -> float:
    """WIDER FACE's evaluation, a loop for each of its sentences."""
    every = [float(s) for d in found for s in d.scores]
    low, high = (min(every), max(every)) if every else (0.0, 1.0)
    curve = [[0, 0] for _ in range(1000)]
    faces = 0
    for detections, truth in zip(found, images, strict=True):
        member = (truth.subsets[subset] & ~truth.ignored).tolist()
        faces += sum(member)
        ranked = sorted(range(len(detections)), key=lambda i: -float(detections.scores[i]))
        was_found = [False] * len(member)
        proposals, hits = [], []
        for i in ranked:
            seen = [overlap(detections.boxes[i].tolist(), b.tolist()) for b in truth.boxes]
            best = max(range(len(seen)), key=lambda k: (seen[k], -k)) if seen else -1
            proposal = hit = 0
            if best < 0 or seen[best] < 0.5:
                proposal = 1
            elif member[best]:
                proposal, hit = 1, int(not was_found[best])
                was_found[best] = True
            proposals.append(proposal)
            hits.append(hit)
        spread = high - low
        scaled = [(float(detections.scores[i]) - low) / spread if spread else 1.0 for i in ranked]
        for k in range(1000):
            threshold = 1 - (k + 1) / 1000
            passed = sum(score >= threshold for score in scaled)
            curve[k][0] += sum(hits[:passed])
            curve[k][1] += sum(proposals[:passed])
    if faces == 0:
        return float("nan")
    recall = [0.0, *(h / faces for h, _ in curve), 1.0]
    precision = [0.0, *(h / p if p else 0.0 for h, p in curve), 0.0]
    for k in range(len(precision) - 1, 0, -1):
        precision[k - 1] = max(precision[k - 1], precision[k])
    return sum((recall[k + 1] - recall[k]) * precision[k + 1] for k in range(len(recall) - 1))


def random_case(generator: np.random.Generator) -> tuple[list[Detections], TruthSet]:
    images, found = [], []
    for _ in range(int(generator.integers(1, 5))):
        count = int(generator.integers(0, 5))
        corner, side = generator.integers(0, 150, (count, 2)), generator.integers(8, 60, (count, 2))
        true = np.concatenate([corner, corner + side], 1).astype(np.float32)
        hard = generator.random(count) < 0.7
        subsets = {"easy": hard & (generator.random(count) < 0.6), "hard": hard}
        images.append(image(true, subsets, generator.random(count) < 0.2))
        near = true.repeat(2, 0) + generator.normal(0, 4, (2 * count, 4))
        wild = generator.integers(0, 150, (3, 2))
        other = np.concatenate([wild, wild + 20], 1)
        guesses = np.concatenate([near, other])
        guesses = guesses[generator.random(len(guesses)) < 0.7].astype(np.float32)
        scores = generator.integers(0, 12, len(guesses)) / np.float32(11)  # with ties
        found.append(Detections(guesses, scores.astype(np.float32)))
    return found, TruthSet(tuple(images), ("easy", "hard"))


def test_random_cases_equal_the_literal_protocol() -> None:
    generator = np.random.default_rng(7)
    policy = DetectionPolicy(bootstrap=2)
    seen = 0
    for _ in range(60):
        found, truth = random_case(generator)
        figures = evaluate(found, truth, policy)
        for subset in truth.subsets:
            wanted = literal_ap(found, truth.images, subset)
            seen += 0 < wanted < 1
            assert figures.ap[subset].value == pytest.approx(wanted, abs=1e-9, nan_ok=True)
    assert seen > 60  # most cases say something


def test_by_hand() -> None:
    assert ap([boxes((FACE, 0.9))], image([FACE])) == 1
    assert ap([boxes()], image([FACE])) == 0
    assert np.isnan(ap([boxes((FACE, 0.9))], image([])))
    # A false positive above the face: precision 1/2 over the whole recall.
    assert ap([boxes((FAR, 0.9), (FACE, 0.5))], image([FACE])) == pytest.approx(0.5)
    # Below it, or a second box on the same face: no harm to the area.
    assert ap([boxes((FACE, 0.9), (FACE, 0.5))], image([FACE])) == 1
    # A second box on the first face between two faces: 1/2 + 1/2 x 2/3.
    twice = boxes((FACE, 0.9), (FACE, 0.8), (FAR, 0.5))
    assert ap([twice], image([FACE, FAR])) == pytest.approx(0.5 + 0.5 * 2 / 3)
    # An ignored face is neither missed nor found.
    assert ap([boxes((FAR, 0.9), (FACE, 0.5))], image([FACE, FAR], ignored=[False, True])) == 1
    # Boxes in an image without faces are false positives.
    assert ap([boxes((FACE, 0.5)), boxes((FAR, 0.9))], image([FACE]), image([])) == 0.5


def test_recall_at_false_positives_and_its_threshold() -> None:
    found = [boxes((FACE, 0.9), (FAR, 0.8)), boxes((FACE, 0.7), (FAR, 0.6))]
    truth = TruthSet((image([FACE]), image([FACE])), ("all",))
    policy = DetectionPolicy(bootstrap=100, false_positives=(0.1, 0.5, 1.0))
    figures = evaluate(found, truth, policy)
    assert {rate: e.value for rate, e in figures.recall.items()} == {0.1: 0.5, 0.5: 1, 1.0: 1}
    assert figures.threshold[0.1] == pytest.approx(0.9)
    assert figures.threshold[0.5] == pytest.approx(0.7)
    assert (figures.images, figures.faces, figures.boxes) == (2, 2, 4)


def test_landmark_error_and_sizes() -> None:
    marks = np.full((1, 5, 2), 30, np.float32)
    truth = TruthSet((image([FACE], points=marks),), ("all",))
    figures = evaluate([boxes((FACE, 0.9), points=marks + np.float32([3, 4]))], truth, QUICK)
    assert figures.landmark_error.value == pytest.approx(5 / np.sqrt(40 * 50))
    assert np.isnan(evaluate([boxes((FACE, 0.9))], truth, QUICK).landmark_error.value)
    assert figures.ap_by_height["48 to 96 px"].value == 1
    assert np.isnan(figures.ap_by_height["below 24 px"].value)


def test_intervals_hold_the_value_and_shrink_with_images() -> None:
    generator = np.random.default_rng(1)

    def width(count: int) -> float:
        found = [
            boxes((FACE, 0.5 + generator.random() / 2), (FAR, generator.random()))
            if generator.random() < 0.7
            else boxes((FAR, generator.random()))
            for _ in range(count)
        ]
        truth = TruthSet(tuple(image([FACE]) for _ in range(count)), ("all",))
        found_ap = evaluate(found, truth, DetectionPolicy(bootstrap=400)).ap["all"]
        assert found_ap.low <= found_ap.value <= found_ap.high
        return found_ap.high - found_ap.low

    assert width(400) < 0.6 * width(50)


def test_differences_are_paired() -> None:
    truth = TruthSet(tuple(image([FACE]) for _ in range(40)), ("all",))
    reference = [boxes((FACE, 0.9)) if n % 2 else boxes((FAR, 0.3)) for n in range(40)]
    same = compare(reference, reference, truth, QUICK)
    assert (same.ap["all"].low, same.ap["all"].value, same.ap["all"].high) == (0, 0, 0)
    assert (same.agreement.share, same.agreement.overlap) == (1, 1)
    # All scores halved: AP does not see it, an application with a fixed threshold does.
    halved = [Detections(d.boxes, d.scores / 2) for d in reference]
    shifted = compare(reference, halved, truth, QUICK)
    assert shifted.ap["all"].value == 0
    assert shifted.fixed.reference_recall == 0.5
    assert shifted.fixed.recall == 0
    lost = [boxes() for _ in reference]
    assert compare(reference, lost, truth, QUICK).ap["all"].value == pytest.approx(-0.5)
    with pytest.raises(DetectionError, match="39 images for a truth of 40"):
        evaluate(reference[1:], truth, QUICK)


def test_a_large_false_positive_harms_no_small_face() -> None:
    small, large = [10.0, 10, 25, 30], [100.0, 50, 200, 200]
    truth = TruthSet((image([small]),), ("all",))
    figures = evaluate([boxes((large, 0.9), (small, 0.5))], truth, QUICK)
    assert figures.ap["all"].value == 0.5
    assert figures.ap_by_height["below 24 px"].value == 1
    same_size = evaluate([boxes(([50.0, 50, 65, 70], 0.9), (small, 0.5))], truth, QUICK)
    assert same_size.ap_by_height["below 24 px"].value == 0.5


def test_the_threshold_is_chosen_again_in_each_resample() -> None:
    """Where all false positives lie in one image, its share of a resample moves the threshold."""
    found = [boxes((FACE, 0.9)) for _ in range(9)] + [boxes((FAR, 0.95), (FACE, 0.8))]
    truth = TruthSet(tuple(image([FACE]) for _ in found), ("all",))
    policy = DetectionPolicy(bootstrap=400, false_positives=(0.1,))
    figures = evaluate(found, truth, policy)
    assert figures.threshold[0.1] == pytest.approx(0.8)
    assert figures.recall[0.1].value == 1
    assert figures.recall[0.1].low == 0  # drawn twice, its false positive comes before all faces


def test_nothing_to_evaluate() -> None:
    with pytest.raises(DetectionError, match="no image to evaluate"):
        evaluate([], TruthSet((), ("all",)), QUICK)
    empty = TruthSet((image([]),), ("all",))
    fixed = compare([boxes((FACE, 0.9))], [boxes()], empty, QUICK).fixed
    assert np.isnan(fixed.recall)
    assert np.isnan(fixed.reference_recall)
