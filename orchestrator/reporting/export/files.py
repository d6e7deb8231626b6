"""Files of a run that are drawn from its events: results.json and table.md."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.events import EventReader
from orchestrator.reporting.live.state import RunState
from orchestrator.reporting.tables.causes import NOT_FINISHED
from orchestrator.reporting.tables.table import markdown
from orchestrator.results import RESULTS_VERSION, CellResult
from orchestrator.version import __version__

SIGNIFICANT = 0.05


def results_of(state: RunState) -> list[CellResult]:
    """Finished rows in the plan's order, their p values adjusted over the rows (Holm)."""
    return with_holm([state.results[name] for name in state.cells if name in state.results])


def with_holm(found: Sequence[CellResult]) -> list[CellResult]:
    """The rows of one table, the p values of their differences adjusted (Holm)."""
    rows = list(found)
    compared = [i for i, row in enumerate(rows) if row.difference is not None]
    if compared:
        from orchestrator.scoring import holm

        adjusted = holm([rows[i].difference.p for i in compared])  # type: ignore[union-attr]
        for i, p in zip(compared, adjusted, strict=True):
            difference = rows[i].difference
            assert difference is not None
            update = difference.model_copy(update={"p_holm": p, "real": p < SIGNIFICANT})
            rows[i] = rows[i].model_copy(update={"difference": update})
    return rows


def failures_of(state: RunState) -> dict[str, str]:
    """Rows without result and why; a row that was never reached says so."""
    return {
        name: state.failures.get(name, NOT_FINISHED)
        for name in state.cells
        if name not in state.results
    }


def write_results(folder: Path) -> tuple[RunState, list[CellResult]]:
    """Fold a run's events and write results.json and table.md beside them."""
    state = RunState()
    for event in EventReader(folder / "events.jsonl").new():
        state.apply(event)
    rows = results_of(state)
    failures = failures_of(state)
    columns = state.started.columns if state.started else ()
    document: dict[str, Any] = {
        "version": RESULTS_VERSION,
        "farm": __version__,
        "run": folder.name,
        "matrix": state.started.matrix if state.started else None,
        "matrix_sha256": state.started.matrix_sha256 if state.started else None,
        "complete": bool(state.finished and state.finished.outcome == "complete"),
        "outcome": state.finished.outcome if state.finished else "unfinished",
        "cells": [row.model_dump(mode="json") for row in rows],
        "missing": failures,
    }
    _replace(folder / "results.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
    _replace(folder / "table.md", markdown(rows, failures, columns))
    return state, rows


def write_table(
    folder: Path,
    rows: Sequence[CellResult],
    about: dict[str, Any],
    columns: Sequence[str] = (),
) -> dict[str, Any]:
    """Write results.json and table.md of rows that were rescored; returns the former.

    Args:
        folder: exists.
        rows: with their new figures.
        about: which run they are of, and what was asked for.
        columns: beside the published ones.
    """
    document: dict[str, Any] = {
        "version": RESULTS_VERSION,
        "farm": __version__,
        **about,
        "cells": [row.model_dump(mode="json") for row in rows],
    }
    _replace(folder / "results.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
    _replace(folder / "table.md", markdown(rows, {}, columns))
    return document


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
