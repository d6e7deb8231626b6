"""compare_detection: a detector's boxes against those of its float32 reference, image by image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError
from orchestrator.images.annotated_rows import TRUTH
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.stages.evaluate import FOUND, policy_of
from orchestrator.stages.score import plain
from orchestrator.stages.stage import Stage
from orchestrator.stages.stage_output import StageOutput
from orchestrator.stages.work import Work

TEST = "bootstrap over images, paired"


def run(work: Work) -> StageOutput:
    """Compare in a Ray worker."""
    return work.services.compute.run(
        compare,
        work.input("reference").read(FOUND),
        work.input("cell").read(FOUND),
        str(work.input("test_images").verify(TRUTH)),
        work.step.params["scoring"],
    )


def compare(reference: bytes, cell: bytes, truth: str, policy: Mapping[str, Any]) -> StageOutput:
    """Two files that `evaluate` made.

    Args:
        truth: path of the truth's file.
        policy: the matrix's `scoring`.
    """
    return StageOutput({}, difference(reference, cell, truth, policy), {"test": TEST})


def difference(
    reference: bytes, cell: bytes, truth: str, policy: Mapping[str, Any]
) -> dict[str, Any]:
    """What `compare` finds, as plain JSON."""
    from orchestrator import detection

    try:
        found = detection.compare(
            detection.load_detections(reference),
            detection.load_detections(cell),
            detection.TruthSet.load(Path(truth)),
            policy_of(policy),
            policy["false_positives"][0],
        )
    except detection.DetectionError as error:
        raise UserError(f"detection: {error}") from error
    return {
        "ap": {name: plain(asdict(estimate)) for name, estimate in found.ap.items()},
        "recall": plain(asdict(found.recall)),
        "landmark_error": plain(asdict(found.landmark_error)),
        "agreement": plain(asdict(found.agreement)),
        "fixed": plain(asdict(found.fixed)),
        "only_reference": found.lost,
        "only_cell": found.gained,
        "p": found.p if math.isfinite(found.p) else 1.0,  # nothing is there to differ
    }


def summary(facts: Mapping[str, Any]) -> str:
    """Nothing: the row shows it."""
    return ""


STAGE = Stage(STAGE_FACTS["compare_detection"], ("reference", "cell", "test_images"), run, summary)
