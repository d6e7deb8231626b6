"""`farm run` and `farm resume`: a run with its console, and its table at the end."""

from __future__ import annotations

import argparse

from rich.console import Console

from orchestrator.cli.asked import asked
from orchestrator.reporting.console import Detail, View, print_table
from orchestrator.reporting.files import failures_of, write_results
from orchestrator.running import LOG, Ended, carry_out, request_of
from orchestrator.scheduling.planner import Request


def run(arguments: argparse.Namespace) -> int:
    """Start a new run."""
    return _run(asked(arguments), _detail(arguments), remeasure=arguments.remeasure)


def resume(arguments: argparse.Namespace) -> int:
    """Go on with an earlier run: the same request, of which only what is missing is done."""
    request = request_of(arguments.runs, arguments.run).joining(arguments.ray_address)
    return _run(request, _detail(arguments))


def _detail(arguments: argparse.Namespace) -> Detail:
    return "quiet" if arguments.quiet else "verbose" if arguments.verbose else "usual"


def _run(request: Request, detail: Detail, *, remeasure: bool = False) -> int:
    console = Console(highlight=False)
    with View(console, detail=detail) as view:
        ended = carry_out(request, view, remeasure=remeasure)
    state, results = write_results(ended.folder)
    columns = state.started.columns if state.started else ()
    print_table(console, results, failures_of(state), columns)
    _last_words(console, ended)
    return ended.exit_code


def _last_words(console: Console, ended: Ended) -> None:
    folder = ended.folder
    if ended.signal:
        words = f"stopped by {ended.signal.name}; go on with: farm resume {folder.name}"
    elif ended.cached:
        words = "all of it was in the store (cached): nothing was run"
    else:
        words = {
            0: "complete",
            1: "incomplete: a row has no result; `farm resume` tries only what is missing",
            2: "wrong input: no board was touched",
            4: f"farm's own bug: please report it with {folder / LOG}",
        }.get(ended.exit_code, f"exit code {ended.exit_code}")
    console.print()
    console.print(f"{words}", style="bold", soft_wrap=True)
    console.print(f"{folder}/table.md, results.json, events.jsonl", style="dim", soft_wrap=True)
