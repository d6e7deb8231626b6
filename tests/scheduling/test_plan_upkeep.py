"""When a run plans again for boards that were connected."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.events import EventLog
from orchestrator.planning.facts import BoardFacts
from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.request import Request
from orchestrator.scheduling import plan_upkeep
from orchestrator.scheduling.core import messages as m
from orchestrator.scheduling.core.steps import Steps
from orchestrator.scheduling.plan_reports import PlanReports
from orchestrator.scheduling.plan_upkeep import LOOK_S, PlanUpkeep
from orchestrator.scheduling.plan_view import plan_view
from orchestrator.scheduling.reporter import Reporter

ROOT = Path(__file__).resolve().parents[2]
HERE = "extract/this-host/probe"
EMULATED = "extract/khadas-vim3/probe"
FACTS = BoardFacts("x86_64", "some processor", "3.11.7", {"onnxruntime": "1.20.1"})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """The default matrix; every input is in the store, nothing is known of any board."""
    shutil.copytree(ROOT / "models", tmp_path / "models")
    for name in ("matrix.yaml", "device_inventory.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    request = Request(
        matrix=str(tmp_path / "matrix.yaml"),
        inventory=str(tmp_path / "device_inventory.yaml"),
        state=str(tmp_path / "state"),
        runs=str(tmp_path / "runs"),
        limit=20,
    )
    plan = make_plan(request)
    plan.content = lambda stage, key: f"content of {key}"  # type: ignore[method-assign]
    plan.resolve()
    return plan


def slowed(monkeypatch: pytest.MonkeyPatch, plan: Plan, what: str) -> list[float]:
    """The upkeep's clock, which stands still but for a second for each call of the plan's."""
    clock = [0.0]
    monkeypatch.setattr(plan_upkeep.time, "monotonic", lambda: clock[0])
    call = getattr(plan, what)

    def slowly() -> None:
        call()
        clock[0] += 1.0

    monkeypatch.setattr(plan, what, slowly)
    return clock


@pytest.fixture
def reporter(tmp_path: Path) -> Iterator[Reporter]:
    reporter = Reporter(EventLog(tmp_path / "events.jsonl"))
    yield reporter
    reporter.close()


def upkeep_of(plan: Plan, reporter: Reporter, events: list[m.Event]) -> PlanUpkeep:
    return PlanUpkeep(plan, PlanReports(plan, Steps(), reporter), reporter, events.append)


def test_boards_nothing_was_known_of_are_planned_for_together_a_changed_one_at_once(
    plan: Plan, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = slowed(monkeypatch, plan, "settle")
    events: list[m.Event] = []
    upkeep = upkeep_of(plan, reporter, events)

    def has_key(step: str) -> bool:
        return step in plan.resolution.keys

    def connected(board: str, facts: BoardFacts, *, at_once: bool = False) -> None:
        plan.facts[board] = facts
        upkeep.note_board(board, at_once=at_once)
        upkeep.look()

    connected("this-host", FACTS)
    assert has_key(HERE)
    assert len(events) == 1
    assert upkeep.next_look_s == LOOK_S  # nothing waits

    connected("khadas-vim3", FACTS)
    assert not has_key(EMULATED)  # planning took 1 s, so it rests for 4 s
    assert len(events) == 1
    clock[0] += 3.9
    assert 0.0 < upkeep.next_look_s < LOOK_S
    upkeep.look()
    assert not has_key(EMULATED)
    clock[0] += 0.1
    assert upkeep.next_look_s == 0.0
    upkeep.look()
    assert has_key(EMULATED)
    assert len(events) == 2

    before = plan.resolution.keys[HERE]
    other = replace(FACTS, runtimes={"onnxruntime": "1.21.0"})
    connected("this-host", other, at_once=True)  # its old keys would name another runtime's work
    assert plan.resolution.keys[HERE] != before
    assert len(events) == 3


def test_after_a_step_its_successors_have_keys_at_once_all_else_is_looked_up_now_and_then(
    plan: Plan, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: set[str] = set()
    plan.content = lambda stage, key: f"content of {key}" if key in held else None  # type: ignore[method-assign]
    plan.resolve()
    clock = slowed(monkeypatch, plan, "resolve")
    events: list[m.Event] = []
    upkeep = upkeep_of(plan, reporter, events)
    upkeep.send_plan()
    gallery, probe = "images/gallery", "images/probe"

    def ends(step: str) -> None:
        held.add(plan.resolution.keys[step])
        upkeep.note_ended(step)
        upkeep.look()

    ends(gallery)
    assert clock[0] == 1.0  # all was looked up, and is not again for 20 s
    somebody_elses = plan.resolution.keys[probe]
    held.add(somebody_elses)
    ends("images/calibration")
    assert clock[0] == 1.0
    assert plan.resolution.cached("images/calibration")
    assert not plan.resolution.cached(probe)
    assert events[-1] == m.PlanChanged(replace(plan_view(plan), resolution=plan.resolution))
    clock[0] = 20.0
    ends(gallery)
    assert plan.resolution.cached(probe)
