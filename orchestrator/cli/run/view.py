"""What `farm run` and `farm resume` show: the live view or events, then table and last words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from orchestrator.cli.run.event_lines import EventLines
from orchestrator.driving.start import DriverProcess
from orchestrator.reporting.export.files import write_results
from orchestrator.reporting.live.card import print_card
from orchestrator.reporting.live.console import Detail, View
from orchestrator.reporting.live.ending import last_words
from orchestrator.reporting.live.state import RunState
from orchestrator.reporting.tables.fitting import print_line
from orchestrator.running import Ended, follow
from orchestrator.store.run_folder import EVENTS


def show(driver: DriverProcess, detail: Detail, *, as_json: bool) -> int:
    """Stay with a run to its end; returns the exit code.

    Args:
        as_json: each event as a line of JSON, and no table; what is said goes to standard error.
    """
    console = Console(highlight=False, stderr=as_json)
    view = EventLines(console, detail) if as_json else View(console, detail=detail)
    with view:
        ended = follow(driver, view)
    return conclude(console, ended, as_json=as_json)


def conclude(console: Console, ended: Ended, *, as_json: bool) -> int:
    """The table and the last words of a run that is over; returns the exit code."""
    state, results = write_results(ended.folder)
    words = words_of(ended, state)
    if not as_json:
        columns = state.started.columns if state.started else ()
        # What is missing is among the words, so that the card has no note of it.
        print_card(console, results, len(state.cells), columns, below=len(words) + 1)
        if results:
            console.print()
    print_last_words(console, words, ended, state)
    return ended.exit_code


def words_of(ended: Ended, state: RunState) -> list[str]:
    """What happened, what is missing and what helps."""
    folder = ended.folder
    stopped = "a signal" if state.finished and state.finished.outcome == "interrupted" else ""
    return last_words(
        state,
        folder.name,
        ended.exit_code,
        stopped_by=ended.signal.name if ended.signal else stopped,
        folder=str(folder),
        cached=ended.cached,
    )


def print_last_words(console: Console, words: Sequence[str], ended: Ended, state: RunState) -> None:
    """The words, and where the run is written."""
    head, *rest = words
    print_line(console, head, "bold")
    for line in rest:
        print_line(console, line)
    names = "table.md, results.json, events.jsonl" if state.results else EVENTS
    print_line(console, f"{ended.folder}/{names}", "dim")
