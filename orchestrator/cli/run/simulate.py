"""`farm plan --simulate boards=khadas-vim3:20`: how long with those boards, and what waits."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from orchestrator.counting import counted
from orchestrator.errors import UserError
from orchestrator.planning.graph import Graph
from orchestrator.planning.lower_bound import pool_name
from orchestrator.preflight.planner import graph_with
from orchestrator.reporting.durations import between, duration
from orchestrator.request import Request
from orchestrator.scheduling.forecast import expected_of
from orchestrator.scheduling.simulator import Simulation
from orchestrator.specs.inventory import Board, load_inventory
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.yamlfile import nearest

MOST = 5000
_FORM = re.compile(r"boards=(.+)")
SHOWN = 12


def wanted(text: str) -> dict[str, int]:
    """Read `boards=KIND:N,KIND:N`.

    Raises:
        UserError: it is not that, or a kind is unknown.
    """
    found = _FORM.fullmatch(text.strip())
    counts: dict[str, int] = {}
    for part in found[1].split(",") if found else [""]:
        kind, _, number = part.strip().partition(":")
        if not kind or not number.isdecimal() or not 1 <= int(number) <= MOST:
            raise UserError(
                f"--simulate {text}: expected boards=KIND:N[,KIND:N], N from 1 to {MOST}",
                "for example: farm plan --simulate boards=khadas-vim3:20",
            )
        if kind not in load_kinds():
            raise UserError(f"--simulate: unknown kind {kind!r}{nearest(kind, load_kinds())}")
        counts[kind] = int(number)
    return counts


def fleet(boards: tuple[Board, ...], counts: Mapping[str, int]) -> list[Board]:
    """The inventory with as many boards of each named kind as asked.

    Other kinds stay as they are. Boards that are made up have hardware of their own each.
    """
    added: list[Board] = []
    for board in boards:
        if board.kind not in counts:
            added.append(board)
    for kind, count in counts.items():
        like = next((board for board in boards if board.kind == kind), None)
        for i in range(count):
            name = f"{kind}-{i + 1}"
            if like is None:
                fresh = {"name": name, "kind": kind, "transport": {"ssh": {"host": "simulated"}}}
                added.append(Board.model_validate(fresh))
            else:
                added.append(like.model_copy(update={"name": name, "contention_domain": name}))
    return added


def show(request: Request, text: str, console: Console) -> int:
    """Simulate the whole matrix from an empty store and print the result."""
    counts = wanted(text)
    inventory = load_inventory(Path(request.inventory))
    boards = fleet(inventory.boards, counts)
    plan = graph_with(request, tuple(boards))
    slots = os.cpu_count() or 1
    expected = expected_of(plan)
    if expected is None:
        raise UserError("no row is possible with these boards", "`farm plan` says why")
    done = expected.simulation
    console.print(
        f"{counted(len(plan.possible), 'row')}, {counted(len(plan.graph.steps), 'step')}, "
        f"{counted(len(boards), 'board')}, from an "
        f"empty store: {between(expected.low, expected.high)}"
    )
    console.print(
        f"lower bound {duration(done.bound_s)} ({done.bound_by}); this schedule is "
        f"{100 * (done.makespan_s / max(done.bound_s, 1e-9) - 1):.0f} % above it"
    )
    console.print()
    console.print(_table(plan.graph, done, slots))
    console.print()
    console.print(expected.source, style="dim")
    impossible = len(plan.cells) - len(plan.possible)
    if impossible:
        console.print(f"{impossible} rows are impossible and left out; `farm plan` says why")
    return 0


def _table(graph: Graph, done: Simulation, slots: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Pool", "Boards", "Busy", "Steps waited for it"):
        table.add_column(name, justify="left" if name == "Pool" else "right")
    busy = done.busy_s()
    rows: list[tuple[float, tuple[Any, ...]]] = []
    pools = {step.pool for step in graph.steps.values() if step.pool}
    for pool in [(), *pools]:
        names = pool or ("",)
        count = len(pool) or slots
        share = sum(busy.get(name, 0.0) for name in names) / max(done.makespan_s * count, 1e-9)
        waited = done.waited_s.get(pool_name(pool), 0.0)
        title = pool_name(pool) or f"this machine ({slots} at a time)"
        rows.append((share, (title, str(count), f"{100 * share:.0f} %", duration(waited))))
    for _, row in sorted(rows, key=lambda each: -each[0])[:SHOWN]:
        table.add_row(*row)
    if len(rows) > SHOWN:
        table.caption = f"{len(rows) - SHOWN} pools that are less busy are not shown"
    return table
