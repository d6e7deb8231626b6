"""Boards that share the head's processors: measured first, and none of these left idle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from orchestrator.errors import TransientError
from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.planning.graph import HEAD_DOMAIN, CellTargets, Graph, Step
from orchestrator.planning.resolving import Resolution
from orchestrator.scheduling.core import messages as m
from orchestrator.scheduling.core.scheduler import Scheduler
from orchestrator.scheduling.error_labels import failure_of

IMAGES = Step("images/probe", "images")


def extraction(board: str) -> Step:
    return Step(f"extract/{board}", "extract", board=board, pool=(board,), units=1000)


def measurement(board: str) -> Step:
    need = {"images": IMAGES.id}
    return Step(f"measure/{board}", "measure", need, board=board, pool=(board,), units=1000)


class Run:
    """The core with connected boards, all keys known; what it starts is noted."""

    def __init__(self, *steps: Step, spares: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self.core = Scheduler(Deadlines(), slots=2)
        self.steps = {step.id: step for step in steps}
        targets = {s: CellTargets(s, None, "", "", "", s) for s in self.steps}
        found = Resolution(keys={s: s for s in self.steps}, todo=list(self.steps))
        names = {step.board for step in steps if step.board} | {
            name for group in (spares or {}).values() for name in group
        }
        profiles = {name: m.BoardProfile(HEAD_DOMAIN) for name in sorted(names)}
        graph = Graph(self.steps, targets)
        view = m.PlanView(graph, found, profiles, spares=spares or {})
        self.core.handle(m.PlanChanged(view), 0.0)
        self.core.handle(m.ConnectedFromStart(tuple(profiles)), 0.0)

    def look(self) -> list[str]:
        begun = []
        for each in self.core.handle(m.Look(), 1.0):
            if isinstance(each, m.Start):
                begun.append(each.step.id)
            elif isinstance(each, m.Help):
                begun.append(f"{each.board} helps {each.step.id}")
        return begun

    def ends(self, step_id: str) -> list[str]:
        self.core.handle(m.Finished(self.steps[step_id]), 1.0)
        return self.look()


def test_a_board_is_measured_before_it_extracts_where_others_extract_too() -> None:
    run = Run(IMAGES, measurement("a"), extraction("a"), extraction("b"))
    assert run.look() == ["images/probe", "extract/b"]
    assert run.ends("images/probe") == []  # the measurement waits for b alone
    assert run.ends("extract/b") == ["measure/a"]
    assert run.ends("measure/a") == ["extract/a"]


def test_a_board_alone_extracts_while_what_its_measurement_needs_is_made() -> None:
    run = Run(IMAGES, measurement("a"), extraction("a"))
    assert run.look() == ["images/probe", "extract/a"]


def test_a_measurement_that_failed_holds_nothing_back() -> None:
    run = Run(replace(measurement("a"), inputs={}), extraction("a"), extraction("b"))
    assert run.look() == ["measure/a"]
    error = failure_of(TransientError("the link is cut"))
    run.core.handle(m.Failed(run.steps["measure/a"], error), 1.0)
    run.core.handle(m.ReachBoards(), 1.0)
    run.core.handle(m.Connected("a"), 1.0)
    assert run.look() == ["extract/a", "extract/b"]


@pytest.mark.parametrize("idle", [1, 3])
def test_a_processor_that_would_be_idle_is_used_by_a_board_without_work(idle: int) -> None:
    group = ("a", *(f"idle{number}" for number in range(idle)))
    run = Run(extraction("a"), spares={"extract/a": group})
    assert run.look() == ["extract/a"]
    assert run.look() == ["idle0 helps extract/a"]  # of two processors, both are in use now
    assert run.look() == []


def test_own_work_comes_before_helping() -> None:
    group = ("a", "b", "c")
    spares = {f"extract/{name}": group for name in group}
    run = Run(extraction("a"), extraction("b"), extraction("c"), spares=spares)
    assert run.look() == ["extract/a", "extract/b", "extract/c"]  # the last share
    assert run.ends("extract/a") == []
    assert run.ends("extract/b") == ["a helps extract/c"]


def test_a_board_that_may_help_is_held_only_as_long_as_something_is_left() -> None:
    run = Run(extraction("a"), spares={"extract/a": ("a", "idle")})
    run.look()
    released = [e for e in run.core.handle(m.ReachBoards(), 1.0) if isinstance(e, m.Release)]
    assert released == []
    run.ends("extract/a")
    released = [e for e in run.core.handle(m.ReachBoards(), 1.0) if isinstance(e, m.Release)]
    assert [each.board for each in released] == ["a", "idle"]
