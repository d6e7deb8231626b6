"""`farm run` and `farm resume`: a run with its console, and its table at the end."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from orchestrator.cli import project
from orchestrator.cli.asked import asked
from orchestrator.preflight.planner import Request
from orchestrator.reporting.analysis.history import EVENTS
from orchestrator.reporting.export.files import write_results
from orchestrator.reporting.live.console import Detail, View, print_table
from orchestrator.reporting.live.ending import last_words
from orchestrator.reporting.live.state import RunState
from orchestrator.running import Ended, carry_out, folder_of, request_of


def run(arguments: argparse.Namespace) -> int:
    """Start a new run."""
    return _run(asked(arguments), _detail(arguments), remeasure=arguments.remeasure)


def resume(arguments: argparse.Namespace) -> int:
    """Go on with an earlier run, under its name: only what is missing is done."""
    folder = folder_of(arguments.runs, arguments.run)
    request = request_of(arguments.runs, arguments.run).joining(arguments.ray_address)
    if not isinstance(arguments.state, project.Default):
        request = replace(request, state=arguments.state)
    return _run(request, _detail(arguments), resuming=folder)


def _detail(arguments: argparse.Namespace) -> Detail:
    return "quiet" if arguments.quiet else "verbose" if arguments.verbose else "usual"


def _run(
    request: Request, detail: Detail, *, remeasure: bool = False, resuming: Path | None = None
) -> int:
    console = Console(highlight=False)
    with View(console, detail=detail) as view:
        ended = carry_out(request, view, remeasure=remeasure, resuming=resuming)
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
