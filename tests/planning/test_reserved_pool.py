"""Of a pool's boards, one that somebody else has reserved is not chosen while another is free."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.request import Request
from orchestrator.scheduling.plan_view import plan_view
from orchestrator.store.fleet_entries import Reserved
from orchestrator.store.fleet_log import FleetLog
from tests.run.project import FLOAT, HOST, Project, emulated

POOL = "  - {name: v, boards: {kind: khadas-vim3}, quantization: uint8 per-tensor asymmetric}\n"


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    project = Project(tmp_path)
    boards = emulated("a", "khadas-vim3") + emulated("b", "khadas-vim3")
    project.write(FLOAT + POOL, HOST + boards)
    places = {name: str(tmp_path / name) for name in ("matrix.yaml", "device_inventory.yaml")}
    return Request(*places.values(), str(tmp_path / ".farm"), str(tmp_path / "runs"))


def boards_at_work(plan: Plan) -> set[str]:
    return {step.board for step in plan.graph.steps.values()} - {"", "this-host"}


@pytest.mark.parametrize(("reserved", "chosen"), [("a", {"b"}), ("b", {"a"})])
def test_the_other_board_of_the_pool_is_taken(
    request_: Request, reserved: str, chosen: set[str]
) -> None:
    log = FleetLog(Path(request_.runs))
    log.append(Reserved(board=reserved, by="ann@lab", for_s=3600))
    plan = make_plan(request_)
    assert boards_at_work(plan) == chosen
    assert plan_view(plan).reserved == {reserved}
    assert plan.refusals() == {}


def test_where_all_are_reserved_one_is_waited_for(request_: Request) -> None:
    log = FleetLog(Path(request_.runs))
    for board in ("a", "b"):
        log.append(Reserved(board=board, by="ann@lab", for_s=3600))
    plan = make_plan(request_)
    assert len(boards_at_work(plan)) == 1
    assert plan.refusals() == {}, "its rows are not given up"
