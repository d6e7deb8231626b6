"""What the rows of a task are judged by. A new task is a file of this folder and a line here.

Tables, report, comparisons, the gate and the exports all take rates, and the one that rows are
compared by, from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from orchestrator.columns.tasks import detection, recognition
from orchestrator.columns.tasks.base import Judged, Rate
from orchestrator.results import CellResult, Task

__all__ = ["RATE_KEYS", "Judged", "Rate", "judged"]

RATE_KEYS = (*recognition.KEYS, *detection.KEYS)
"""Keys of all rates that a limit may name."""

TASKS: Mapping[Task, Callable[[Sequence[CellResult]], Judged]] = {
    "recognition": recognition.judged,
    "detection": detection.judged,
}


def judged(rows: Sequence[CellResult]) -> Judged:
    """What these rows are judged by; a run's rows are all of one task."""
    return TASKS[rows[0].task if rows else "recognition"](rows)
