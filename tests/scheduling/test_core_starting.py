"""What starts first: a processor for the first boards to come, then row by row."""

from __future__ import annotations

from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.planning.graph import CellTargets, Graph, Step
from orchestrator.planning.resolving import Resolution
from orchestrator.scheduling.core import messages as m
from orchestrator.scheduling.core.scheduler import Scheduler


class Run:
    """The core of a run over the board `a`, all keys known."""

    def __init__(self, *steps: Step, slots: int = 2, ranks: dict[str, float] | None = None) -> None:
        self.core = Scheduler(Deadlines(), slots)
        self.steps = {step.id: step for step in steps}
        targets = {s: CellTargets(s, None, "", "", "", s) for s in self.steps}
        found = Resolution(keys={s: s for s in self.steps}, todo=list(self.steps))
        graph = Graph(self.steps, targets)
        profiles = {"a": m.BoardProfile("a")}
        self.core.handle(m.PlanChanged(m.PlanView(graph, found, profiles, ranks=ranks or {})), 0.0)

    def starts(self, now: float = 0.0) -> list[str]:
        looked = self.core.handle(m.Look(), now)
        return [each.step.id for each in looked if isinstance(each, m.Start)]

    def ends(self, step_id: str) -> list[str]:
        self.core.handle(m.Finished(self.steps[step_id]), 1.0)
        return self.starts(1.0)


def extraction(row: int, part: str) -> Step:
    return Step(f"extract/{row}/{part}", "extract", board="a", pool=("a",), units=100)


def conversion(row: int) -> Step:
    return Step(f"convert/{row}", "convert")


def test_until_a_board_is_held_one_processor_is_left_to_connecting() -> None:
    run = Run(conversion(1), conversion(2), extraction(1, "gallery"))
    assert run.core.handle(m.ReachBoards(), 0.0) == [m.Connect("a", False)]
    assert run.starts(0.1) == ["convert/1"]
    run.core.handle(m.Connected("a"), 0.2)
    assert run.starts(0.2) == ["convert/2", "extract/1/gallery"]


def test_a_host_with_one_processor_does_not_wait_for_the_boards() -> None:
    run = Run(conversion(1), extraction(1, "gallery"), slots=1)
    run.core.handle(m.ReachBoards(), 0.0)
    assert run.starts(0.1) == ["convert/1"]


def test_a_board_extracts_row_by_row_however_long_what_follows_takes() -> None:
    steps = [extraction(row, part) for row in (1, 2) for part in ("gallery", "probe")]
    ranks = {step.id: 20.0 if step.id.endswith("probe") else 10.0 for step in steps}
    run = Run(*steps, ranks=ranks)
    run.core.handle(m.ConnectedFromStart(("a",)), 0.0)
    assert run.starts() == ["extract/1/gallery"]
    assert run.ends("extract/1/gallery") == ["extract/1/probe"]
    assert run.ends("extract/1/probe") == ["extract/2/gallery"]
