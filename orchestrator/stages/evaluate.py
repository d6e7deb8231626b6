"""evaluate: a detector's raw outputs into boxes, and the boxes into the row's figures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.data.features import Features
from orchestrator.errors import UserError
from orchestrator.images.annotated_rows import TRUTH
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.stages import image_rows
from orchestrator.stages.score import plain, stored_features
from orchestrator.stages.stage import Stage
from orchestrator.stages.stage_output import StageOutput
from orchestrator.stages.work import Work

if TYPE_CHECKING:
    from orchestrator.detection import (
        DetectionFigures,
        DetectionPolicy,
        Detections,
        DetectorSpec,
        TruthSet,
    )

FOUND = "detections.npz"
CURVE_POINTS = 200


def run(work: Work) -> StageOutput:
    """Decode and evaluate in a Ray worker."""
    pictures = work.input("test_images")
    params = work.step.params
    return work.services.compute.run(
        evaluate_stored,
        str(work.input("test").folder),
        image_rows.read_rows(pictures.read(image_rows.ROWS)),
        str(pictures.verify(TRUTH)),
        params["detector"],
        params["scoring"],
    )


def evaluate_stored(
    folder: str,
    ids: Sequence[str],
    truth: str,
    detector: Mapping[str, Any],
    policy: Mapping[str, Any],
) -> StageOutput:
    """Evaluate a feature file of the store, which is mapped and not copied.

    Args:
        folder: of the features.
        ids: one a row.
        truth: path of the truth's file.
        detector: `ModelSpec.detector_meta`.
        policy: the matrix's `scoring`.
    """
    from orchestrator.detection import DetectionError, TruthSet, detector_spec

    features = stored_features(Path(folder), ids)
    spec = detector_spec(detector)
    try:
        return evaluate(features, TruthSet.load(Path(truth)), spec, policy)
    except DetectionError as error:
        raise UserError(f"detection: {error}") from error


def policy_of(policy: Mapping[str, Any]) -> DetectionPolicy:
    """How detection is evaluated, from the matrix's `scoring`."""
    from orchestrator.detection import DetectionPolicy

    return DetectionPolicy(
        confidence=policy["confidence"],
        bootstrap=policy["bootstrap"],
        seed=policy["seed"],
        false_positives=tuple(policy["false_positives"]),
    )


def evaluate(
    features: Features, truth: TruthSet, spec: DetectorSpec, policy: Mapping[str, Any]
) -> StageOutput:
    """Boxes and figures of a detector.

    Args:
        features: float32 (n, row_size), of the truth's images; nothing is found in a failed one.
        truth: of the same images.
        spec: how the rows become boxes.
        policy: the matrix's `scoring`.

    Raises:
        DetectionError: rows that are not of this detector.
    """
    from orchestrator import detection

    found, decode_s, nms_s = _decoded(features, truth, spec)
    figures = detection.evaluate(found, truth, policy_of(policy))
    failed = int(features.failed.sum())
    warnings = []
    if figures.boxes == 0 and failed < len(truth):
        warnings.append(
            f"the detector found no box of a score of {spec.min_score:g} or more in any image: "
            "look at mean, std and colour of its manifest"
        )
    return StageOutput(
        {FOUND: detection.save_detections(found)},
        {**as_json(figures, truth), "failed": failed, "warnings": warnings},
        {
            **{key: policy[key] for key in ("confidence", "seed", "bootstrap")},
            # Of this host; a board's own time of these steps would be another.
            "decode_ms_here": _median_ms(decode_s),
            "nms_ms_here": _median_ms(nms_s),
        },
    )


def _decoded(
    features: Features, truth: TruthSet, spec: DetectorSpec
) -> tuple[list[Detections], list[float], list[float]]:
    """Boxes of every image, and the seconds of decoding and of NMS."""
    from orchestrator.detection import DetectionError, Detections, decoded, finished
    from orchestrator.detection.heads.registry import HEADS

    pointed = HEADS[spec.head].has_points(len(spec.outputs))
    found: list[Detections] = []
    decode_s, nms_s = [], []
    for row, failed, image in zip(features.rows, features.failed, truth.images, strict=True):
        if failed:
            found.append(Detections.none(points=pointed))
            continue
        begin = time.perf_counter()
        try:
            raw = decoded(np.asarray(row), spec)
        except DetectionError as error:
            raise DetectionError(f"{image.name}: {error}") from error
        between = time.perf_counter()
        found.append(finished(raw, spec, image.size))
        decode_s.append(between - begin)
        nms_s.append(time.perf_counter() - between)
    return found, decode_s, nms_s


def _median_ms(seconds: Sequence[float]) -> float | None:
    return round(1000 * statistics.median(seconds), 4) if seconds else None


def as_json(figures: DetectionFigures, truth: TruthSet) -> dict[str, Any]:
    """Figures as plain JSON: estimates by subset, by height, by false positives an image."""
    from orchestrator.detection.figures import largest_subset

    def each(estimates: Mapping[Any, Any]) -> dict[str, dict[str, Any]]:
        return {
            name if isinstance(name, str) else f"{name:g}": plain(asdict(estimate))
            for name, estimate in estimates.items()
        }

    return {
        "main": largest_subset(truth),
        # The store sorts keys; a table has its subsets from easy to hard.
        "order": {
            "subsets": list(truth.subsets),
            "heights": list(figures.ap_by_height),
            "false_positives": [f"{rate:g}" for rate in figures.recall],
        },
        "ap": each(figures.ap),
        "ap_by_height": each(figures.ap_by_height),
        "recall": each(figures.recall),
        "threshold": {f"{rate:g}": _finite(at) for rate, at in figures.threshold.items()},
        "landmark_error": plain(asdict(figures.landmark_error)),
        "curve": {
            name: {"recall": _thinned(recall), "precision": _thinned(precision)}
            for name, (recall, precision) in figures.curve.items()
        },
        "images": figures.images,
        "faces": {
            name: int(sum((i.subsets[name] & ~i.ignored).sum() for i in truth.images))
            for name in truth.subsets
        },
        "boxes": figures.boxes,
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _thinned(values: Iterable[float]) -> list[float]:
    whole = np.asarray(values, np.float64).reshape(-1)
    places = np.unique(np.linspace(0, len(whole) - 1, CURVE_POINTS).astype(int))
    return [round(float(v), 6) for v in np.nan_to_num(whole[places])] if len(whole) else []


def summary(facts: Mapping[str, Any]) -> str:
    """AP of the largest subset in percent."""
    value = facts["ap"][facts["main"]]["value"]
    return f"AP ({facts['main']}) " + ("not known" if value is None else f"{100 * value:.2f} %")


STAGE = Stage(STAGE_FACTS["evaluate"], ("test", "test_images"), run, summary)
