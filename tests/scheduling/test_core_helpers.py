"""A board without work of its own helps where most is left to do."""

from __future__ import annotations

from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.planning.graph import CellTargets, Graph, Step
from orchestrator.planning.resolving import Resolution
from orchestrator.scheduling.core import messages as m
from orchestrator.scheduling.core.scheduler import Scheduler

POOL = ("a", "b", "c", "d")


class Run:
    """Extractions of these seconds, one a board of the pool; nothing else is to be done."""

    def __init__(self, **seconds: float) -> None:
        steps = {
            f"extract/{board}": Step(
                f"extract/{board}", "extract", board=board, pool=POOL, units=1000
            )
            for board in seconds
        }
        self.steps = steps
        self.core = Scheduler(Deadlines(), slots=2)
        view = m.PlanView(
            Graph(steps, {s: CellTargets(s, None, "", "", "", s) for s in steps}),
            Resolution(keys={s: s for s in steps}, todo=list(steps)),
            {board: m.BoardProfile(board) for board in POOL},
            ranks={f"extract/{board}": each for board, each in seconds.items()},
        )
        self.core.handle(m.PlanChanged(view), 0.0)

    def connected(self, now: float, *boards: str) -> set[str]:
        self.core.handle(m.ConnectedFromStart(boards), now)
        return self.look(now)

    def ends(self, now: float, board: str) -> set[str]:
        self.core.handle(m.Finished(self.steps[f"extract/{board}"]), now)
        return self.look(now)

    def look(self, now: float) -> set[str]:
        found = self.core.handle(m.Look(), now)
        begun = {f"{each.step.board} begins" for each in found if isinstance(each, m.Start)}
        return begun | {
            f"{each.board} helps {each.step.board}" for each in found if isinstance(each, m.Help)
        }


def test_the_longer_one_is_helped() -> None:
    run = Run(a=10, b=30)
    assert run.connected(0.0, "a", "b") == {"a begins", "b begins"}
    assert run.connected(1.0, "c") == {"c helps b"}


def test_of_two_of_a_length_the_one_that_began_later_is_helped() -> None:
    run = Run(a=30, b=30)
    assert run.connected(0.0, "a") == {"a begins"}
    assert run.connected(8.0, "b") == {"b begins"}
    assert run.connected(9.0, "c") == {"c helps b"}


def test_what_others_help_with_already_is_over_sooner() -> None:
    run = Run(a=30, b=24)
    assert run.connected(0.0, "a", "b") == {"a begins", "b begins"}
    assert run.connected(1.0, "c") == {"c helps a"}
    assert run.connected(2.0, "d") == {"d helps b"}


def test_where_estimates_were_too_low_every_extraction_gets_a_helper_first() -> None:
    run = Run(a=5, b=4)
    assert run.connected(0.0, "a") == {"a begins"}
    assert run.connected(1.0, "b") == {"b begins"}
    assert run.connected(20.0, "c") == {"c helps b"}
    assert run.connected(21.0, "d") == {"d helps a"}


def test_what_has_long_gone_on_counts_by_what_is_left() -> None:
    run = Run(a=40, b=30, c=5)
    assert run.connected(0.0, "a") == {"a begins"}
    assert run.connected(20.0, "b", "c") == {"b begins", "c begins"}
    assert run.ends(25.0, "c") == {"c helps b"}
    assert run.ends(26.0, "a") == {"a helps b"}
