"""What a failure's kind decides: again, another session, the board out, the step given up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.errors import BoardError, FarmError, ToolchainError, TransientError, UserError
from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.planning.graph import CellTargets, Graph, Step
from orchestrator.planning.resolving import resolve
from orchestrator.scheduling.core import messages as m
from orchestrator.scheduling.core.boards import ATTEMPTS
from orchestrator.scheduling.core.scheduler import Scheduler
from orchestrator.scheduling.core.states import BoardState, InvalidTransition
from orchestrator.scheduling.error_labels import error_class, failure_of
from orchestrator.store.artifacts import BuildInProgress, CorruptArtifact

CONVERT = Step("convert", "convert")
DEPLOY = Step("deploy", "deploy", inputs={"artifact": "convert"}, board="b", pool=("b",))
WORK = Step("work", "extract", {"artifact": "convert"}, ("deploy",), board="b", pool=("b",))


class Run:
    """The core with a deploy and `work` on one board, which runs; the converter's output is held.

    What the core wants done is done at once, and noted.
    """

    def __init__(self, *more: Step, recoverable: bool = False) -> None:
        self.core = Scheduler(Deadlines(), slots=2)
        steps = {step.id: step for step in (CONVERT, DEPLOY, WORK, *more)}
        ends = [step.id for step in steps.values() if step.stage == "extract"]
        targets = {end: CellTargets(end, None, "", "", "", end) for end in ends}
        self.graph = Graph(steps, targets)
        rungs = ("reboot",) if recoverable else ()
        self.profiles = {s.board: m.BoardProfile(s.board, rungs) for s in steps.values() if s.board}
        self.held = {"convert"}
        self.now = 0.0
        self.did: list[str] = []
        self.started: list[str] = []
        self.reports: list[m.ReportFailure] = []
        self.tell(m.PlanChanged(self.view()))
        self.go_on()

    def view(self) -> m.PlanView:
        found = resolve(self.graph, lambda stage, _: stage if stage in self.held else None)
        return m.PlanView(self.graph, found, self.profiles)

    def tell(self, event: m.Event) -> None:
        for each in self.core.handle(event, self.now):
            if isinstance(each, m.Start):
                self.started.append(each.step.id)
            elif isinstance(each, m.ReportFailure):
                self.reports.append(each)
            elif isinstance(each, m.InspectStore):
                self.tell(m.PlanChanged(self.view(), inspected=True))
            elif isinstance(each, m.Connect):
                self.tell(m.Connected(each.board))
            elif isinstance(each, m.GiveUp):
                self.did.append("give up")
            elif isinstance(each, m.Recover):
                self.did.append("recover")
            elif isinstance(each, m.ReportBoard):
                self.did.append(each.state)

    def go_on(self) -> None:
        """Connect the board, deploy, begin `work`."""
        for _ in range(2):
            self.now += 100.0
            self.tell(m.ReachBoards())
            self.tell(m.Look())
            if self.state("deploy") == "running":
                self.tell(m.Finished(DEPLOY))

    def state(self, step: str) -> str:
        return self.core.steps.state(step).value

    def fails(self, error: BaseException, progressed: bool = False) -> tuple[str, list[str], bool]:
        """The step's state, what was done to the board, and whether the report says again."""
        self.did.clear()
        self.tell(m.Failed(WORK, failure_of(error, progressed=progressed)))
        if self.core.boards.state("b") is BoardState.AWAY:
            self.did.insert(0, "lost")
        return self.state("work"), list(self.did), self.reports[-1].retry


def test_a_transient_error_is_tried_again_on_a_new_session_after_a_look_at_the_files() -> None:
    run = Run()
    for _ in range(ATTEMPTS - 1):
        assert run.fails(TransientError("b: cut")) == ("waiting", ["lost"], True)
        assert run.state("deploy") == "waiting"
        run.go_on()
    state, did, again = run.fails(TransientError("b: cut"))
    assert (state, again) == ("failed", False)
    assert did[0] == "lost"
    assert run.core.boards.error("b") is None  # one step that failed is not yet the board
    assert run.started == ["deploy", "work"] * ATTEMPTS


def test_the_next_attempt_waits_for_its_backoff_and_proves_the_board() -> None:
    run = Run()
    run.fails(TransientError("b: cut"))
    assert run.core.handle(m.ReachBoards(), run.now) == [m.Connect("b", check=True)]
    run.core.handle(m.Connected("b"), run.now)
    run.core.handle(m.Look(), run.now)
    run.core.handle(m.Finished(DEPLOY), run.now)
    assert run.core.handle(m.Look(), run.now + 0.9) == []
    assert run.core.handle(m.Look(), run.now + 1.1) != []


def test_an_attempt_that_brought_something_does_not_count() -> None:
    run = Run()
    for _ in range(3 * ATTEMPTS):
        assert run.fails(TransientError("b: cut"), progressed=True)[0] == "waiting"
        run.go_on()
    for _ in range(ATTEMPTS - 2):
        assert run.fails(TransientError("b: cut"))[0] == "waiting"
        run.go_on()
    assert run.fails(TransientError("b: cut"))[0] == "failed"


def test_a_board_error_takes_the_board_out_at_once() -> None:
    run = Run()
    assert run.fails(BoardError("b: no room")) == ("failed", ["give up"], False)
    assert isinstance(run.core.boards.error("b"), BoardError)


@pytest.mark.parametrize("error", [BoardError("b: hangs"), TransientError("b: gone")])
def test_a_board_that_can_be_recovered_is_before_it_is_given_up(error: FarmError) -> None:
    run = Run(recoverable=True)
    for _ in range(ATTEMPTS - 1):
        run.fails(TransientError("b: cut"))
        run.go_on()
    assert run.fails(error) == ("waiting", ["recover"], True)
    assert run.state("deploy") == "waiting"


@pytest.mark.parametrize("error", [UserError("u"), ToolchainError("t"), FarmError("f")])
def test_what_no_other_attempt_mends_fails_the_step_and_spares_the_board(error: FarmError) -> None:
    run = Run()
    assert run.fails(error) == ("failed", ["ready"], False)
    assert run.core.boards.error("b") is None


def test_anything_else_is_an_internal_error_and_the_report_says_so() -> None:
    run = Run()
    state, _, again = run.fails(ZeroDivisionError("x"))
    assert (state, again) == ("failed", False)
    failure = run.reports[-1].failure
    assert failure.kind is m.FailureKind.INTERNAL
    assert error_class(failure.error) == "bug"
    assert "ZeroDivisionError" in failure.error.message
    assert "driver.log" in failure.error.hint


def test_a_lost_input_is_made_again_and_held_against_nobody() -> None:
    run = Run()
    run.held.clear()
    lost = CorruptArtifact("artifact: damaged in the store")
    assert run.fails(lost) == ("waiting", ["ready"], True)
    assert (run.state("convert"), run.state("deploy")) == ("waiting", "waiting")
    assert run.core.boards.error("b") is None


def test_a_store_that_damages_all_it_gets_ends_the_step() -> None:
    run = Run()
    tries = []
    for _ in range(ATTEMPTS):
        tries.append(run.fails(CorruptArtifact("damaged"))[0])
        run.tell(m.Look())
    assert tries == ["waiting"] * (ATTEMPTS - 1) + ["failed"]
    assert run.core.boards.error("b") is None


def test_who_waited_in_vain_for_another_run_does_not_wait_three_times() -> None:
    run = Run()
    error = BuildInProgress("another run has been making it")
    assert run.fails(error) == ("failed", ["ready"], False)
    assert run.core.boards.error("b") is None


def test_what_is_being_made_is_not_begun_twice_and_may_be_once_that_failed() -> None:
    twin = replace(WORK, id="twin", board="c", pool=("c",))
    run = Run(twin)
    assert run.started == ["deploy", "work"]
    run.tell(m.Look())
    assert run.state("twin") == "waiting"
    run.fails(TransientError("lost"))
    run.tell(m.Look())
    assert run.state("twin") == "waiting"  # its deploy is to be looked at again
    run.tell(m.ReachBoards())
    run.tell(m.Look())
    run.tell(m.Finished(DEPLOY))
    run.tell(m.Look())
    assert run.state("twin") == "running"
    run.now += 100.0
    run.tell(m.Look())
    assert run.state("work") == "waiting"


def test_a_step_that_moves_to_a_board_which_was_lost_before_deploys_there_again() -> None:
    at_c = replace(DEPLOY, id="deploy/c", board="c", pool=("b", "c"))
    work = replace(WORK, pool=("b", "c"))
    other = replace(WORK, id="other", params={"n": 1}, after=("deploy/c",), board="c", pool=("c",))
    run = Run(work, other, at_c)
    for _ in range(ATTEMPTS):
        run.now += 100.0
        run.tell(m.ReachBoards())
        run.tell(m.Look())
        run.tell(m.Finished(at_c))
        run.tell(m.Look())
        assert run.state("other") == "running"
        run.tell(m.Failed(other, failure_of(TransientError("c: cut"))))
    assert run.state("other") == "failed"  # so no step waits for the board that was lost
    moved = replace(work, after=("deploy/c",), board="c")
    run.tell(m.Failed(work, failure_of(BoardError("b: no room"))))
    run.graph = Graph({**run.graph.steps, "work": moved}, run.graph.targets)
    run.tell(m.StepsMoved({"work": "c"}, run.view()))
    run.tell(m.ReachBoards())
    run.tell(m.Look())
    assert run.state("deploy/c") == "running"
    assert run.state("work") == "waiting"


def test_what_fails_while_the_run_is_being_stopped_waits_and_is_not_reported() -> None:
    run = Run()
    run.tell(m.Stop())
    run.tell(m.Failed(WORK, failure_of(BoardError("b: killed"))))
    assert run.state("work") == "waiting"
    assert run.reports == []
    assert run.core.boards.connected("b")


def test_nothing_is_left_to_do_once_the_head_is_lost() -> None:
    run = Run()
    run.tell(m.HeadLost(TransientError("Ray's head ended")))
    assert run.state("work") == "failed"
    assert [each.retry for each in run.reports] == [False]
    assert run.core.finished


def test_an_illegal_transition_tells_the_steps_story() -> None:
    run = Run()
    run.tell(m.Finished(WORK))
    with pytest.raises(InvalidTransition) as raised:
        run.tell(m.Finished(WORK))
    assert str(raised.value) == (
        "step work: done -> done (finished) is not legal (legal: waiting); its story: waiting -> "
        "running (attempt 1 on b) -> done (finished)"
    )
