"""`farm plan --predict`: the accuracy that twins predict on this host, no board touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from orchestrator.columns.tasks import Judged, judged
from orchestrator.columns.texts import points
from orchestrator.events import Event, StepProgress, StepStarted
from orchestrator.execution.local_backend import host_plan, run_here
from orchestrator.execution.results_builder import predicted
from orchestrator.preflight.planner import Plan, encoder_backend
from orchestrator.reporting.tables.causes import causes, names_of
from orchestrator.reporting.tables.fitting import Column, fitted
from orchestrator.reporting.tables.table import DASH
from orchestrator.request import Request
from orchestrator.results import CellResult


def show_predictions(request: Request, console: Console) -> int:
    """Make and print the predictions; 1 when a row has none.

    Raises:
        FarmError: something could not be made; what is finished is kept.
    """
    plan = host_plan(request)
    targets = [
        step_id
        for target in plan.graph.targets.values()
        for step_id in (target.score, target.compare, target.split)
        if step_id is not None
    ]
    with shown_on(console) as emit:
        run_here(plan, targets, emit)
    console.print(table(plan, console.width))
    console.print()
    reasons = {cell.name: cell.reason for cell in plan.cells if cell.reason}
    for cause in causes(reasons, {cell.name: cell.board for cell in plan.cells}):
        console.print(Text(f"{names_of(cause, len(plan.cells))}: no prediction: {cause.what}"))
    console.print(
        "Predicted on this host: no board was touched and nothing was timed. A twin is our model "
        "of a vendor's arithmetic: expect a board's distribution (mean cosine, accuracy), not its "
        "vectors.",
        style="dim",
    )
    if request.limit:
        what = "gallery identities" if plan.matrix.task == "recognition" else "images"
        console.print(f"only {request.limit} {what} (--limit)", style="dim")
    return 0 if len(plan.possible) == len(plan.cells) else 1


def table(plan: Plan, width: int) -> Table:
    """The predictions, for a terminal of this width: figures stay, what made them goes first."""
    found = {cell.name: predicted(plan, cell) for cell in plan.possible}
    by = judged(list(found.values()))
    columns = (
        Column("Row"),
        Column("Executed by", drop=3),
        Column("Backend", drop=2),
        *(Column(rate.heading, right=True) for rate in by.rates),
        Column(f"{by.main.heading} against float32", drop=1, right=True),
    )
    rows: list[list[str | Text]] = []
    for cell in plan.cells:
        figures = [DASH] * (len(by.rates) + 1)
        if cell.name in found:
            row = found[cell.name]
            figures = [*(rate.text(row, True) for rate in by.rates), _difference(by, row)]
        backend = encoder_backend(cell.probe)
        rows.append([cell.name, cell.probe.executed_by, backend, *figures])
    return fitted(columns, rows, width)


def _difference(by: Judged, row: CellResult) -> str:
    if row.difference is None:
        return "-"
    return f"{points(by.main.change(row.difference))} p={row.difference.p:.2g}"


@contextmanager
def shown_on(console: Console) -> Iterator[Any]:
    """A listener for `run_here`: a bar on a terminal, a line a step elsewhere."""
    if not console.is_terminal:
        yield lambda event: _line(console, event)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)

        def emit(event: Event) -> None:
            if isinstance(event, StepStarted):
                progress.reset(task, total=None, description=event.step)
            elif isinstance(event, StepProgress):
                progress.update(task, completed=event.done, total=event.total or None)

        yield emit


def _line(console: Console, event: Event) -> None:
    if isinstance(event, StepStarted):
        console.print(f"{event.step} …", style="dim", highlight=False)
