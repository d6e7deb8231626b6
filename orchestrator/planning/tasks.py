"""What a model is for decides which images its rows need and which stages score them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.results import Task


@dataclass(frozen=True)
class TaskFacts:
    """What the plan knows of a task.

    Attributes:
        roles: of the images that a row's encoder turns into features.
        timed: the one of them whose images are timed, and compared between runtimes.
        score, compare: the stages that make a row's figures, and its difference from float32.
        annotated: whether the images carry a truth that rows are compared by.
        scoring: keys of the matrix's `scoring` that count; hashed into the stages' keys.
    """

    roles: tuple[str, ...]
    timed: str
    score: str
    compare: str
    annotated: bool
    scoring: tuple[str, ...]


TASKS: Mapping[Task, TaskFacts] = {
    "recognition": TaskFacts(
        roles=("gallery", "probe"),
        timed="probe",
        score="score",
        compare="compare",
        annotated=False,
        scoring=("far", "table_far", "confidence", "bootstrap", "seed", "fusion"),
    ),
    "detection": TaskFacts(
        roles=("test",),
        timed="test",
        score="evaluate",
        compare="compare_detection",
        annotated=True,
        scoring=("confidence", "bootstrap", "seed", "false_positives"),
    ),
}
