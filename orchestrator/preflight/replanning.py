"""A plan after the inventory changed under it: new boards and rows come in, none is lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.planning.cells import expand, only
from orchestrator.preflight.audit import audit_of
from orchestrator.preflight.caches import FactsFile
from orchestrator.preflight.planner import Plan
from orchestrator.preflight.rows import image_rows
from orchestrator.preflight.unsupported import with_reasons
from orchestrator.specs.inventory import Inventory
from orchestrator.specs.kinds import load_kinds


@dataclass(frozen=True)
class Changes:
    """Names of boards.

    Attributes:
        joined: they were added, or put back.
        left: they were taken out.
        ignored: their entry changed; it counts from the next run on.
    """

    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def take_inventory(plan: Plan, inventory: Inventory) -> Changes:
    """Plan again with the boards that are there now.

    Boards that were taken out keep their place in pools and names, and get no more work. A board
    that changed is used as it was when the run began.

    Raises:
        UserError: the matrix does not fit the new inventory.
    """
    now = {board.name: board for board in inventory.boards}
    new = [name for name in now if name not in plan.boards]
    back = [name for name in now if plan.book.is_removed(name)]
    left = [name for name in plan.boards if name not in now and not plan.book.is_removed(name)]
    changed = [n for n, board in now.items() if n in plan.boards and board != plan.boards[n]]
    changes = Changes((*new, *back), tuple(left), tuple(changed))
    if new:
        # What is bound stays bound, also in a pool that had one board.
        for step in plan.graph.steps.values():
            if step.facts.executes:
                plan.bound.setdefault(step.id, step.board)
        boards = plan.boards | {name: now[name] for name in new}
        merged = inventory.model_copy(update={"boards": tuple(boards.values())})
        models = [name for name in plan.models if name != plan.matrix.detector_name]
        cells = expand(plan.matrix, merged, load_kinds(), models, plan.capabilities)
        cells = only(cells, plan.request.only, plan.request.matrix)
        cells = with_reasons(cells, {name: taken.impossible for name, taken in plan.intake.items()})
        rows = image_rows(plan.matrix, plan.models, cells, plan.request)
        rows |= plan.rows
        plan.audit = audit_of(plan.matrix, rows, plan.models, Path(plan.request.state))
        plan.boards, plan.cells, plan.rows = boards, cells, rows
        plan.facts |= FactsFile(Path(plan.request.state)).load({name: now[name] for name in new})
    for name in left:
        plan.book.remove(name)
    for name in back:
        plan.book.put_back(name)
    plan.book.read(plan.boards)
    if new:
        plan.bind()
    return changes
