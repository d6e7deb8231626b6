"""`farm plan`: every row, its steps, what the store already has, and why a row is impossible."""

from __future__ import annotations

import contextlib
import gc
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from orchestrator.audit.sentences import heading
from orchestrator.counting import counted
from orchestrator.fleet.transport.untrusted import headline
from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.reporting.durations import between
from orchestrator.reporting.tables.causes import causes, names_of
from orchestrator.reporting.tables.fitting import Column, fitted
from orchestrator.request import Request
from orchestrator.scheduling.forecast import expected_of

REPAIRED = " (changed so that onnxruntime computes it)"


def plan(
    request: Request, *, steps: bool, predict: bool, simulate: str | None, as_json: bool
) -> int:
    """Print the plan; 1 when a row is impossible or its board out of use, else 0.

    Args:
        steps: also list every step.
        predict: also what twins on this host predict; then 1 when a row has no prediction.
        simulate: so many boards, `boards=KIND:N,...`, whose schedule is shown instead.
    """
    console = Console(highlight=False)
    if simulate:
        from orchestrator.cli.run.simulate import show

        return show(request, simulate, console)
    with _all_stays():
        planned = make_plan(request)
        done = 0 if len(planned.possible) == len(planned.cells) and not planned.refusals() else 1
        if as_json:
            print(json.dumps(_plain(planned), indent=1))
            return done
        show_plan(console, planned, steps=steps)
    if predict:
        from orchestrator.cli.run.predict import show_predictions

        console.print()
        return show_predictions(request, console)
    return done


@contextlib.contextmanager
def _all_stays() -> Iterator[None]:
    """Let Python look for no garbage: of what is planned and shown hardly anything becomes any, and
    looking took a sixth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _plain(plan: Plan) -> dict[str, Any]:
    """The plan for programs: rows and steps, seconds as estimated."""
    todo = set(plan.resolution.todo)
    expected = expected_of(plan)
    infos = {info.id: info for info in plan.step_infos()}
    refused, steps = _refusals(plan), _steps_by_cell(plan)
    return {
        "rows": [
            {
                "name": cell.name,
                "hardware": plan.hardware(cell),
                "board": cell.board,
                "boards": list(cell.probe.pool),
                "executed_by": cell.probe.executed_by,
                "gallery": cell.gallery.name if plan.matrix.task == "recognition" else None,
                "impossible": cell.reason,
                "not_now": [] if cell.reason else refused.get(cell.name, []),
                "steps": steps.get(cell.name, []),
            }
            for cell in plan.cells
        ],
        "steps": [
            {
                "id": step.id,
                "stage": step.stage,
                "boards": list(step.pool),
                "key": plan.resolution.keys.get(step.id),
                "to_do": step.id in todo,
                "cached": plan.resolution.cached(step.id),
                "seconds": infos[step.id].seconds if step.id in infos else None,
            }
            for step in plan.graph.steps.values()
        ],
        "test_set": {"notes": plan.notes()},
        "audit": [finding.model_dump(mode="json") for finding in plan.audit],
        "seconds": expected.seconds if expected else 0.0,
        "seconds_between": [expected.low, expected.high] if expected else [0.0, 0.0],
        "models": {name: taken.to_dict() for name, taken in plan.intake.items()},
    } | ({"given": {name: asdict(each) for name, each in plan.given.items()}} if plan.given else {})


def _intake(plan: Plan) -> list[str]:
    """What was done to bring models into the normal form, and what makes them doubtful."""
    lines = []
    for name, taken in plan.intake.items():
        if taken.changes:
            lines.append(
                f"model {escape(name)} is used in the normal form; lowest cosine to the file"
                f"{REPAIRED if taken.repaired else ''} on {taken.images} images {taken.cosine:.7f}:"
            )
        lines += [f"  - {escape(change)}" for change in taken.changes]
        lines += [
            f"[yellow]warning:[/yellow] model {escape(name)}: {escape(text)}"
            for text in taken.warnings
        ]
    return lines


def show_plan(console: Console, plan: Plan, *, steps: bool) -> None:
    """Rows and the sum first, why rows cannot run, and the steps where they are asked for."""
    refused = _refusals(plan)
    console.print(_rows(plan, refused, console.width))
    console.print()
    total = len(plan.cells)
    for cause in causes(_why(plan, refused), {cell.name: cell.board for cell in plan.cells}):
        console.print(Text(f"{names_of(cause, total)}: {cause.what}"))
    todo = plan.resolution.todo
    cached = len(plan.resolution.contents)
    console.print(
        f"{counted(total, 'row')}; {counted(cached, 'step')} in the store, {len(todo):,} to do"
    )
    for note in plan.notes():
        console.print(Text(note, style="yellow"))
    for name, given in plan.given.items():
        console.print(escape(given.line(plan.models[name])))
    for finding in plan.audit:
        style = "dim" if finding.severity == "note" else "yellow"
        console.print(Text(heading(finding), style=style))
    expected = expected_of(plan)
    if expected is not None:
        console.print(f"takes {between(expected.low, expected.high)} ({expected.source})")
    for line in _intake(plan):
        console.print(line)
    if steps:
        console.print()
        console.print(_steps(plan, console.width))
    elif plan.graph.steps:
        console.print("`farm plan --steps` lists the steps", style="dim")


# The gallery first, since the row's name has the star of mixed mode; then what is in the inventory.
COLUMNS = (
    Column("Row"),
    Column("Hardware", drop=2),
    Column("Executed by", drop=1),
    Column("Boards", drop=3),
    Column("Gallery by", drop=4),
    Column("To do"),
)
STEP_COLUMNS = (
    Column("Step"),
    Column("Where", drop=1),
    Column("Key", drop=2),
    Column("State"),
)
POOL_SHOWN = 2


def _rows(plan: Plan, refused: Mapping[str, list[str]], width: int) -> Table:
    rows: list[list[str | Text]] = []
    steps, todo_of = plan.graph.steps, Counter[str]()
    for step_id in plan.resolution.todo:
        todo_of.update(set(steps[step_id].cells))
    for cell in plan.cells:
        count = todo_of[cell.name]
        if cell.reason:
            todo = Text("impossible", "red")
        elif cell.name in refused:
            todo = Text(f"{counted(count, 'step')}, not now", "yellow")
        else:
            todo = Text(counted(count, "step")) if count else Text("nothing, all cached", "green")
        by, gallery = cell.probe.executed_by, cell.gallery.name
        rows.append([cell.name, plan.hardware(cell), by, _pool(cell.probe.pool), gallery, todo])
    if plan.matrix.task == "recognition":
        return fitted(COLUMNS, rows, width)
    # A detector enrols nobody.
    places = [place for place, column in enumerate(COLUMNS) if column.name != "Gallery by"]
    return fitted([COLUMNS[p] for p in places], [[row[p] for p in places] for row in rows], width)


def _pool(names: tuple[str, ...]) -> str:
    more = len(names) - POOL_SHOWN
    return ", ".join(names[:POOL_SHOWN]) + (f" +{more}" if more > 0 else "")


def _why(plan: Plan, refused: Mapping[str, list[str]]) -> dict[str, str]:
    """Why rows are impossible, or cannot be made now."""
    found = {}
    for cell in plan.cells:
        if cell.reason:
            found[cell.name] = f"impossible: {headline(cell.reason.removeprefix(cell.board), 600)}"
        elif reasons := refused.get(cell.name):
            found[cell.name] = f"not now: {headline('; '.join(reasons), 600)}"
    return {name: " ".join(text.split()) for name, text in found.items()}


def _refusals(plan: Plan) -> dict[str, list[str]]:
    """Why boards of a row are out of use, by the row's name; of no row that can be plan."""
    found: dict[str, dict[str, None]] = {}
    for step_id, error in plan.refusals().items():
        for name in plan.graph.steps[step_id].cells:
            found.setdefault(name, {})[error.message] = None
    return {name: list(messages) for name, messages in found.items()}


def _steps_by_cell(plan: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for step in plan.graph.steps.values():
        for name in dict.fromkeys(step.cells):
            found.setdefault(name, []).append(step.id)
    return found


def _steps(plan: Plan, width: int) -> Table:
    todo = set(plan.resolution.todo)
    rows: list[list[str | Text]] = []
    for step in plan.graph.steps.values():
        if step.id in todo:
            state = Text("to do")
        elif plan.resolution.cached(step.id):
            state = Text("cached", "green")
        else:
            state = Text("not needed", "dim")
        key = plan.resolution.keys.get(step.id)
        where = _pool(step.pool) or "this machine"
        rows.append([step.id, where, key[:12] if key else "after its inputs", state])
    return fitted(STEP_COLUMNS, rows, width)
