"""What an error's class decides: again, another session, the board out, the step given up."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.errors import BoardError, FarmError, ToolchainError, TransientError, UserError
from orchestrator.events import StepFailed
from orchestrator.fleet.board import Deadlines
from orchestrator.planning.graph import Graph, Step
from orchestrator.planning.resolving import Resolution, resolve
from orchestrator.scheduling.failing import Failing
from orchestrator.scheduling.roster import ATTEMPTS, Roster
from orchestrator.store.artifacts import BeingMade, Spoiled


class Plan:
    """A graph, and what a store holds of it."""

    def __init__(self, steps: list[Step]) -> None:
        self.graph = Graph({step.id: step for step in steps}, {})
        self.held: set[str] = set()
        self.resolution = Resolution()
        self.resolve()

    def resolve(self) -> None:
        self.resolution = resolve(self.graph, lambda s, key: s if s in self.held else None)

    def forget(self) -> None:
        pass


class Trying(Failing):
    """Steps on one board that is connected; what is done to the board is noted."""

    def __init__(self, recoverable: bool = False) -> None:
        super().__init__()
        convert = Step("convert", "convert")
        deploy = Step("deploy", "deploy", inputs={"artifact": "convert"}, board="b", pool=("b",))
        work = Step("work", "extract", inputs={"artifact": "convert"}, board="b", pool=("b",))
        work = Step(**{**vars(work), "after": ("deploy",)})
        self.did: list[str] = []
        self.events: list[StepFailed] = []
        note: Any = self.did.append
        made: Any = self
        made._plan = Plan([convert, deploy, work])
        made._plan.held = {"convert"}
        made._plan.resolve()
        made._stop = threading.Event()
        made._state = {"convert": "done", "deploy": "done", "work": "running"}
        made._made = {"convert", "deploy"}
        made._not_before = {}
        made._roster = Roster(Deadlines())
        made._roster.connecting("b", 0.0)
        made._roster.reached("b")
        made._executor = SimpleNamespace(advanced=lambda step: False)
        made._reporter = SimpleNamespace(emit=self.events.append)
        made._leases = SimpleNamespace(
            lost=lambda b: note("lost"),
            recoverable=lambda b, error: recoverable,
            recover=lambda b, error: note("recover"),
            give_up=lambda b, error: note("give up"),
            say=lambda b, state: note(state),
        )

    def _settle(self) -> None:
        needed = {"convert", "deploy", "work"} - set(self._plan.resolution.contents)
        for name in self._state:
            if self._state[name] == "done" and name not in self._made and name in needed:
                self._state[name] = "waiting"

    def fails(self, error: BaseException, step: str = "work") -> tuple[str, list[str], bool]:
        """The step's state, what was done to the board, and whether the last event says again."""
        self.did.clear()
        self._failed(self._plan.graph.steps[step], error)
        return self._state[step], list(self.did), self.events[-1].retry


def test_a_transient_error_is_tried_again_on_a_new_session_after_a_look_at_the_files() -> None:
    run = Trying()
    for _ in range(ATTEMPTS - 1):
        assert run.fails(TransientError("b: cut")) == ("waiting", ["lost"], True)
        assert run._state["deploy"] == "waiting"
        run._state |= {"deploy": "done", "work": "running"}
    state, did, again = run.fails(TransientError("b: cut"))
    assert (state, again) == ("failed", False)
    assert did[0] == "lost"
    assert run._roster.error("b") is None  # one step that failed is not yet the board


def test_a_board_error_takes_the_board_out_at_once() -> None:
    run = Trying()
    assert run.fails(BoardError("b: no room")) == ("failed", ["give up"], False)
    assert isinstance(run._roster.error("b"), BoardError)


@pytest.mark.parametrize("error", [BoardError("b: hangs"), TransientError("b: gone")])
def test_a_board_that_can_be_recovered_is_before_it_is_given_up(error: FarmError) -> None:
    run = Trying(recoverable=True)
    run._in_vain["work"] = ATTEMPTS - 1
    assert run.fails(error) == ("waiting", ["recover"], True)
    assert run._state["deploy"] == "waiting"


@pytest.mark.parametrize("error", [UserError("u"), ToolchainError("t"), FarmError("f")])
def test_what_no_other_attempt_mends_fails_the_step_and_spares_the_board(error: FarmError) -> None:
    run = Trying()
    assert run.fails(error) == ("failed", ["ready"], False)
    assert run._roster.error("b") is None


def test_anything_else_is_a_bug_and_the_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    run = Trying()
    state, _, again = run.fails(ZeroDivisionError("x"))
    assert (state, again, run._bug) == ("failed", False, True)
    assert run.events[-1].error == "bug"
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_lost_input_is_made_again_and_held_against_nobody() -> None:
    run = Trying()
    run._plan.held.clear()  # type: ignore[attr-defined]
    assert run.fails(Spoiled("artifact: damaged in the store")) == ("waiting", ["ready"], True)
    assert (run._state["convert"], run._state["deploy"]) == ("waiting", "waiting")
    assert run._roster.error("b") is None


def test_a_store_that_damages_all_it_gets_ends_the_step() -> None:
    run = Trying()
    tries = [run.fails(Spoiled("damaged"))[0] for _ in range(ATTEMPTS)]
    assert tries == ["waiting"] * (ATTEMPTS - 1) + ["failed"]
    assert run._roster.error("b") is None


def test_who_waited_in_vain_for_another_run_does_not_wait_three_times() -> None:
    run = Trying()
    assert run.fails(BeingMade("another run has been making it")) == ("failed", ["ready"], False)
    assert run._roster.error("b") is None


def test_what_is_being_made_is_not_begun_twice_and_may_be_once_that_failed() -> None:
    trying: Any = Trying()
    steps = trying._plan.graph.steps
    again = Step(**{**vars(steps["work"]), "id": "again", "board": "c", "pool": ("c",)})
    trying._plan = Plan([*steps.values(), again])
    trying._plan.held = {"convert"}
    trying._plan.resolve()
    assert not trying._is_being_made(again)
    trying._under_way["work"] = trying._plan.resolution.keys["work"]
    assert trying._is_being_made(again)
    trying._failed(steps["work"], TransientError("lost"))
    assert not trying._is_being_made(again)
