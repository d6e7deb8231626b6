"""What `farm run` and `farm resume` show: the live view, then table and last words."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from orchestrator.reporting.analysis.history import EVENTS
from orchestrator.reporting.export.files import write_results
from orchestrator.reporting.live.console import Detail, View, print_table
from orchestrator.reporting.live.ending import last_words
from orchestrator.reporting.live.state import RunState
from orchestrator.running import Ended, follow
from orchestrator.scheduling.start import DriverProcess


def show(driver: DriverProcess, detail: Detail) -> int:
    """Stay with a run to its end; returns the exit code."""
    console = Console(highlight=False)
    with View(console, detail=detail) as view:
        ended = follow(driver, view)
    state, results = write_results(ended.folder)
    columns = state.started.columns if state.started else ()
    print_table(console, results, {}, columns)  # the last words say what is missing
    if results:
        console.print()
    print_last_words(console, ended, state)
    return ended.exit_code


def print_last_words(console: Console, ended: Ended, state: RunState) -> None:
    """What happened, what is missing and what helps, and where it is written."""
    folder = ended.folder
    head, *rest = last_words(
        state,
        folder.name,
        ended.exit_code,
        stopped_by=ended.signal.name if ended.signal else "",
        folder=str(folder),
        cached=ended.cached,
    )
    console.print(Text(head, "bold"), soft_wrap=True)
    for line in rest:
        console.print(Text(line), soft_wrap=True)
    names = "table.md, results.json, events.jsonl" if state.results else EVENTS
    console.print(Text(f"{folder}/{names}", "dim"), soft_wrap=True)
