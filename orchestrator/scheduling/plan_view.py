"""The plan as the scheduling core sees it."""

from __future__ import annotations

from orchestrator.errors import FarmError
from orchestrator.fleet.boards.recovery import rungs
from orchestrator.planning.spares import spares
from orchestrator.preflight.planner import Plan
from orchestrator.scheduling.core.messages import BoardProfile, PlanView


def plan_view(plan: Plan) -> PlanView:
    """What of a plan decides who does what when, as it is now."""
    boards = {
        name: BoardProfile(board.contention_domain, rungs(board), board.recovery.boots_in_s)
        for name, board in plan.boards.items()
    }
    pools = {(s.board, s.pool, s.extra.get("runtime")) for s in plan.graph.steps.values()}
    asked = {(name, runtime) for own, pool, runtime in pools for name in (own, *pool) if name}
    spare = spares(plan.graph.steps.values(), plan.boards)
    groups = {id(names): (step_id, names) for step_id, names in spare.items()}
    for step_id, names in groups.values():
        runtime = plan.graph.steps[step_id].extra["runtime"]
        asked |= {(name, runtime) for name in names}
    refusals: dict[tuple[str, str | None], FarmError] = {}
    for name, runtime in asked:
        error = plan.book.refusal(name, runtime)
        if error is not None:
            refusals[name, runtime] = error
    reserved = frozenset(name for name in boards if plan.book.reserved(name) is not None)
    return PlanView(
        plan.graph,
        plan.resolution,
        boards,
        plan.leads,
        plan.ranks,
        plan.facts,
        refusals,
        reserved,
        spare,
    )
