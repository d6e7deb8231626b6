"""`farm gate`: exit code 3 and reasons when a run is worse than its baseline than allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from rich.console import Console

from orchestrator.cli.results.taking import no_rows, take
from orchestrator.counting import counted
from orchestrator.errors import UserError
from orchestrator.reporting.analysis.compare import compare_runs
from orchestrator.reporting.analysis.gate import Judgement, Limits, judge
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.analysis.pull_request import comment, nothing
from orchestrator.reporting.tables.fitting import print_line
from orchestrator.reporting.tables.listing import previous

FAILED = 3
Form = Literal["text", "json", "github"]


def gate(
    runs: Path,
    name: str,
    limits: Limits,
    *,
    baseline_name: str | None,
    confirmed: bool,
    form: Form,
) -> int:
    """Judge a run against a baseline; 3 when it fails.

    Args:
        baseline_name: the complete run of the same matrix before it when None.
        confirmed: whether a slow-down is measured again before it fails.
        form: what is printed: lines, JSON, or a pull request's comment for GitHub.
    """
    run = take(runs, name, rowless=True)
    if not run.results:
        return _nothing(run, form)
    baseline = _baseline(runs, run, baseline_name)
    confirm = None
    if confirmed and limits.max_slower:
        from orchestrator.cli.results.confirm import confirming

        confirm = confirming(baseline, run, Console(stderr=True, highlight=False))
    compared = compare_runs(baseline, run)
    judgement = judge(compared, run, limits, confirm)
    if form == "json":
        named = {"run": run.name, "baseline": baseline.name}
        print(json.dumps(named | judgement.to_json(), indent=1))
    elif form == "github":
        print(comment(compared, judgement, limits), end="")
    else:
        _show(judgement, run, baseline)
    return 0 if judgement.passed else FAILED


def _nothing(run: Run, form: Form) -> int:
    """A run without a row fails at once, whatever the limits are."""
    why = f"{no_rows(run).message}: nothing to judge; `farm resume {run.name}` continues it"
    if form == "github":
        print(nothing(run.name, why), end="")
    elif form == "json":
        judgement = Judgement((why,), (), (), judged=0)
        print(json.dumps({"run": run.name, "baseline": None} | judgement.to_json(), indent=1))
    else:
        print_line(Console(highlight=False), f"gate failed: {why}", "bold red")
    return FAILED


def _baseline(runs: Path, run: Run, name: str | None) -> Run:
    found = take(runs, name) if name else previous(runs, run)
    if found is None:
        raise UserError(
            f"there is no complete run before {run.name} of the same matrix and limit",
            "name one: farm gate --baseline RUN (a run's name, or a path to its folder)",
        )
    if found.name == run.name:
        raise UserError(f"{run.name} is its own baseline", "name another: --baseline RUN")
    return found


def _show(judgement: Judgement, run: Run, baseline: Run, console: Console | None = None) -> None:
    console = console or Console(highlight=False)
    console.print(f"{run.name} against {baseline.name}", style="bold", soft_wrap=True)
    for text in judgement.failures:
        print_line(console, f"FAIL  {text}", "red")
    for text in judgement.warnings:
        print_line(console, f"warn  {text}", "yellow")
    for text in judgement.left_out:
        print_line(console, f"left  {text}", "dim")
    word = "passed" if judgement.passed else f"failed ({len(judgement.failures)} FAIL)"
    style = "green" if judgement.passed else "bold red"
    print_line(console, f"gate {word}; {counted(judgement.judged, 'figure')} judged", style)
