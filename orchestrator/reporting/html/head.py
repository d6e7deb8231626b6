"""The page's head: what was measured, on what, when, and with what result."""

from __future__ import annotations

import time
from collections.abc import Sequence

from orchestrator.audit.sentences import leak_notes
from orchestrator.counting import counted, share
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.durations import duration
from orchestrator.results import CellResult

MODELS = 3  # named in the title


def heading(run: Run) -> str:
    """`synthface-ir · 5 boards · 8 rows · 2026-11-29`."""
    day = time.strftime("%Y-%m-%d", time.localtime(run.began))
    started = run.state.started
    boards = len(started.boards) if started is not None else 0
    return " · ".join(
        [
            _models(run.results) or f"run {run.name}",
            counted(boards, "board"),
            counted(len(run.state.cells), "row"),
            day,
        ]
    )


def _models(rows: Sequence[CellResult]) -> str:
    models = list(dict.fromkeys(row.model for row in rows))
    more = f" and {len(models) - MODELS} more" if len(models) > MODELS else ""
    return ", ".join(models[:MODELS]) + more


def facts(run: Run) -> list[tuple[str, str]]:
    """Name and value of what is known of the whole run."""
    started = run.state.started
    found = [
        ("Run", run.name),
        ("Outcome", run.outcome),
        ("Rows", f"{len(run.results)} of {len(run.state.cells)}"),
        ("Began", time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(run.began))),
        ("Took", duration(run.seconds)),
    ]
    if started is not None:
        found += [
            ("Matrix", started.matrix),
            ("Matrix sha256", started.matrix_sha256[:16]),
            ("Inventory", started.inventory),
            ("farm", started.farm),
            ("Steps from the store", f"{run.state.cached} of {run.state.total}"),
        ]
    if run.results:
        test = run.results[0].test_set
        size = f"N = {test.gallery:,}, {test.probes:,} probes"
        if test.images:
            size = f"{test.images:,} images, {max(test.faces.values(), default=0):,} faces"
        found.append(("Test set", f"{size}, {test.hash[:12]}"))
        found += [
            ("Images", note)
            for note in dict.fromkeys(n for r in run.results for n in r.test_set.notes)
        ]
    return found


def alerts(run: Run) -> list[str]:
    """What must be read before the table."""
    found = []
    if run.state.finished is None:
        found.append("This run has no end in its log: it goes on, or was lost.")
    elif run.outcome != "complete":
        how = "" if run.outcome == "incomplete" else f" ({run.outcome})"
        rows = share(len(run.results), len(run.state.cells), "row")
        said = f"This run is not complete{how}: {rows} with a result."
        found.append(f"{said} {run.state.finished.message}".strip())
    found += leak_notes(run.results)
    if any(row.partial for row in run.results):
        found.append("Partial: only a part of the test set was used (--limit).")
    return found
