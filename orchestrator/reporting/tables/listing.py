"""Lists of kept runs: all of them in a few words each, a row over time, the run before another.

A run's line is worked out from its events once and kept in the index as long as its log stays.
"""

from __future__ import annotations

import difflib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.columns.tasks import Rate, judged
from orchestrator.errors import UserError
from orchestrator.reporting.analysis.history import Run, load_run, run_folders
from orchestrator.reporting.live.state import RunState
from orchestrator.results import CellResult, Tar, Verdict
from orchestrator.store import index
from orchestrator.store.run_folder import EVENTS, LATEST


@dataclass(frozen=True)
class Listed:
    """A run without its events.

    Attributes:
        folder: where it is kept.
        summary: see `summary`.
        points: the figures of its finished rows, by name.
        rows: names of all its rows.
    """

    folder: Path
    summary: dict[str, Any]
    points: dict[str, dict[str, Any]]
    rows: tuple[str, ...]

    @classmethod
    def of(cls, run: Run) -> Listed:
        """Worked out from a run's events."""
        return cls.of_state(run.folder, run.state, run.results, run.began, run.seconds)

    @classmethod
    def of_state(
        cls,
        folder: Path,
        state: RunState,
        results: Sequence[CellResult],
        began: float,
        seconds: float,
    ) -> Listed:
        """Worked out from the fold over a run's events.

        Args:
            began: Unix seconds of its first event.
            seconds: how long it has taken, without the time between two sessions.
        """
        about = _summary(folder, state, len(results), began, seconds)
        points = {row.name: _point(about["run"], began, row) for row in results}
        return cls(folder, about, points, tuple(state.cells))


def listed(runs: Path) -> list[Listed]:
    """All runs that can be read, oldest first."""

    def plain() -> list[Listed]:
        return [entry for folder in run_folders(runs) if (entry := _read(folder)) is not None]

    return index.ask(runs, lambda database: list(_indexed(database, runs)), plain)


def _indexed(database: sqlite3.Connection, runs: Path) -> Iterator[Listed]:
    folders = {folder.name: folder for folder in run_folders(runs)}
    what = "SELECT folder, size, changed, summary, points, rows FROM runs"
    known = {row[0]: row[1:] for row in database.execute(what)}
    gone = [(name,) for name in known if name not in folders]
    database.executemany("DELETE FROM runs WHERE folder = ?", gone)
    for name, folder in folders.items():
        log = (folder / EVENTS).stat()
        size, changed, *texts_found = known.get(name, (None, None))
        if (size, changed) == (log.st_size, log.st_mtime_ns):
            about, points, rows = map(json.loads, texts_found)
            yield Listed(folder, about | {"folder": str(folder)}, points, tuple(rows))
        elif (entry := _read(folder)) is not None:
            texts = map(json.dumps, (entry.summary, entry.points, entry.rows))
            line = (name, log.st_size, log.st_mtime_ns, *texts)
            database.execute("REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)", line)
            yield entry


def _read(folder: Path) -> Listed | None:
    try:
        return Listed.of(load_run(folder))
    except UserError:
        return None


def summary(run: Run) -> dict[str, Any]:
    """A run in a few plain words, for `farm runs`."""
    return _summary(run.folder, run.state, len(run.results), run.began, run.seconds)


def _summary(
    folder: Path, state: RunState, done: int, began: float, seconds: float
) -> dict[str, Any]:
    started, finished = state.started, state.finished
    return {
        "run": started.run if started else folder.name,
        "folder": str(folder),
        "began": began,
        "seconds": round(seconds, 1),
        "outcome": finished.outcome if finished else "unfinished",
        "exit_code": finished.exit_code if finished else None,
        "matrix": started.matrix if started else None,
        "limit": started.limit if started else None,
        "only": list(started.only) if started else [],
        "rows": len(state.cells),
        "rows_done": done,
        "cached": bool(finished and finished.cached),
    }


def newest_with_rows(runs: Path) -> tuple[Path, tuple[str, ...]] | None:
    """The folder of the newest run that has a row, and the names of newer ones that have none.

    The newest is the one that was begun or resumed last.

    Returns:
        None when no run has a row.
    """
    order = listed(runs)
    last = (runs / LATEST).resolve()
    order.sort(key=lambda run: run.folder.resolve() == last)
    passed: list[str] = []
    for run in reversed(order):
        if run.summary["rows_done"]:
            return run.folder, tuple(passed)
        passed.append(run.folder.name)
    return None


def _shown(rate: Rate, row: CellResult, is_main: bool) -> dict[str, Any]:
    found = rate.of(row)
    there = not isinstance(found, Tar) or found.available
    return {
        "heading": rate.heading,
        "main": is_main,
        "text": rate.text(row, is_main),
        "value": found.value if there else None,
        "low": found.low if there else None,
        "high": found.high if there else None,
    }


def _point(run: str, began: float, row: CellResult) -> dict[str, Any]:
    by = judged([row])
    come = row.provenance
    opened = come.get("probe", {}).get("opened", {})
    blocks = [block.p50_ms for block in row.latency.blocks] if row.latency else []
    return {
        "run": run,
        "began": began,
        "rank1": row.rank1.model_dump(),
        "tar": row.tar.model_dump(),
        "rates": [_shown(rate, row, by.main is rate) for rate in by.rates],
        "p50_ms": row.p50_ms,
        "p50_of_blocks_ms": [min(blocks), max(blocks)] if blocks and row.detector is None else None,
        "verdict": row.verdict,
        "executed_by": row.executed_by,
        "partial": row.partial,
        "test_set": row.test_set.hash,
        "artifact_sha256": row.artifact_sha256,
        "board": row.board,
        "model": row.model,
        "model_sha256": come.get("model_sha256", ""),
        "toolchain": _versioned(come.get("artifact", {}), "toolchain"),
        "runtime": _versioned(opened, "runtime"),
    }


def doubt(point: Mapping[str, Any]) -> str:
    """The verdict of a point's time that is not VALID: no list may show the time without it."""
    timed = point["p50_ms"] is not None and point["verdict"] != Verdict.VALID
    return str(point["verdict"]) if timed else ""


def _versioned(facts: Mapping[str, Any], name: str) -> str:
    """`tengine 1.2`, as far as it was recorded."""
    version = str(facts.get("version", ""))
    named = str(facts.get(name, ""))
    return version if version.startswith(named) else f"{named} {version}"


def trend(runs: Path, row: str) -> list[dict[str, Any]]:
    """A row's figures over all runs that have it, oldest first.

    Raises:
        UserError: no run has such a row.
    """
    found = listed(runs)
    points = [run.points[row] for run in found if row in run.points]
    if not points:
        known = dict.fromkeys(name for run in found for name in run.rows)
        near = difflib.get_close_matches(row, known, 1)
        raise UserError(
            f"no run in {runs} has a finished row {row!r}",
            f"did you mean {near[0]!r}?" if near else f"rows there: {', '.join(known) or 'none'}",
        )
    return points


def previous(runs: Path, run: Run) -> Run | None:
    """The newest complete run before `run`, of the same matrix file, with the same part of it."""
    started = run.state.started
    if started is None:
        return None
    same = {"matrix": started.matrix, "limit": started.limit, "outcome": "complete"}
    before = [
        other.folder
        for other in listed(runs)
        if other.summary["began"] < run.began
        and all(other.summary[name] == value for name, value in same.items())
    ]
    return load_run(before[-1]) if before else None
