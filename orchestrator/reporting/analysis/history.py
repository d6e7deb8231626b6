"""Runs that are kept: finding one, and reading it from its events."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from orchestrator.counting import share
from orchestrator.errors import UserError
from orchestrator.events import Event, EventReader, RunStarted
from orchestrator.reporting.export.files import failures_of, results_of
from orchestrator.reporting.live.state import RunState
from orchestrator.reporting.tables.table import html, markdown
from orchestrator.results import CellResult
from orchestrator.store.artifacts import Held, Store
from orchestrator.store.run_folder import EVENTS, REQUEST


@dataclass(frozen=True, repr=False)
class Run:
    """A run as its events tell it.

    Attributes:
        folder: where it is kept.
        request: what was asked for, empty when the folder was copied without it.
        events: all of them, in order.
        state: the fold over them.
        results: finished rows in the plan's order, p values adjusted.
        failures: rows without result and why.
        store: what the run's steps made; None when it is not on this computer.
    """

    folder: Path
    request: dict[str, Any]
    events: tuple[Event, ...]
    state: RunState
    results: tuple[CellResult, ...]
    failures: dict[str, str]
    store: Store | None

    @property
    def name(self) -> str:
        """The run's name; a copied folder may be called otherwise."""
        return self.state.started.run if self.state.started else self.folder.name

    @property
    def outcome(self) -> str:
        """How it ended, or `unfinished`."""
        return self.state.finished.outcome if self.state.finished else "unfinished"

    @property
    def began(self) -> float:
        """Unix seconds of its first event."""
        return self.events[0].at

    @property
    def seconds(self) -> float:
        """From its first to its last event, without the time between two sessions of a run."""
        spent = 0.0
        for before, event in pairwise(self.events):
            if not isinstance(event, RunStarted):
                spent += event.at - before.at
        return spent

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns beside the published ones that the matrix asked for."""
        return self.state.started.columns if self.state.started else ()

    def row(self, name: str) -> CellResult | None:
        """A finished row by name."""
        return next((row for row in self.results if row.name == name), None)

    def __repr__(self) -> str:
        rows = share(len(self.results), len(self.state.cells), "row")
        return f"<Run {self.name}: {self.outcome}, {rows}>"

    def _repr_html_(self) -> str:
        """The table, as a notebook shows it; nothing in it is markup of a board's."""
        return html(self.results, self.failures, self.columns)

    def _repr_markdown_(self) -> str:
        """The table, as a notebook shows it."""
        return markdown(self.results, self.failures, self.columns)

    def held(self, row: CellResult, stage: str) -> Held | None:
        """What the store holds of a row's step, or None where it is not (any more) on this disk."""
        key = row.provenance.get("keys", {}).get(stage)
        return self.store.lookup(stage, key) if self.store and key else None


def find_run(runs: Path, name: str) -> Path:
    """The folder of a run.

    Args:
        runs: where runs are kept.
        name: a run's name, the start of one, `latest`, or a path to a run's folder.

    Raises:
        UserError: there is none, or more than one begins so.
    """
    path = Path(name)
    if (path.is_absolute() or len(path.parts) > 1) and (path / EVENTS).is_file():
        return path
    folders = {folder.name: folder for folder in run_folders(runs)}
    exact = runs / name
    if (exact / EVENTS).is_file():
        return folders.get(exact.resolve().name, exact)
    begin = [folder for known, folder in folders.items() if known.startswith(name)]
    if len(begin) == 1:
        return begin[0]
    if begin:
        raise UserError(
            f"{len(begin)} runs in {runs} begin with {name!r}",
            f"they are: {', '.join(folder.name for folder in begin[-5:])}",
        )
    near = difflib.get_close_matches(name, folders, 1)
    known = ", ".join(list(folders)[-5:]) or "none yet; `farm run` begins one"
    raise UserError(
        f"there is no run {name!r} in {runs}",
        f"did you mean {near[0]}?" if near else f"runs there: {known}",
    )


def run_folders(runs: Path) -> list[Path]:
    """Folders of all runs, oldest first."""
    if not runs.is_dir():
        return []
    return sorted(
        path for path in runs.iterdir() if not path.is_symlink() and (path / EVENTS).is_file()
    )


def load_run(folder: Path) -> Run:
    """Read a run.

    Raises:
        UserError: its event log holds no whole event.
    """
    events = tuple(EventReader(folder / EVENTS).new())
    if not events:
        raise UserError(f"{folder / EVENTS}: not one whole event in it", "the run never began")
    state = RunState()
    for event in events:
        state.apply(event)
    request = _request(folder)
    store = Path(request["state"]) / "store" if "state" in request else None
    return Run(
        folder=folder,
        request=request,
        events=events,
        state=state,
        results=tuple(results_of(state)),
        failures=failures_of(state),
        store=Store(store) if store is not None and store.is_dir() else None,
    )


def load_runs(runs: Path) -> Iterator[Run]:
    """All runs that can be read, oldest first."""
    for folder in run_folders(runs):
        try:
            yield load_run(folder)
        except UserError:
            continue


def _request(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / REQUEST).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
