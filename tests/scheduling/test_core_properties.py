"""The core's promises under random events: nothing runs twice, nothing is lost, all ends."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from orchestrator.errors import BoardError, TransientError, UserError
from orchestrator.fleet.boards.board import BoardBusy
from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.planning.graph import HEAD_DOMAIN, CellTargets, Graph, Step
from orchestrator.planning.resolving import Resolution, resolve
from orchestrator.scheduling.core import messages as m
from orchestrator.scheduling.core.scheduler import Scheduler
from orchestrator.scheduling.core.states import StepState
from orchestrator.scheduling.error_labels import failure_of
from orchestrator.store.artifacts import BuildInProgress, CorruptArtifact

NAMES = ("a", "b", "c", "d")
SLOTS = 2
ERRORS: dict[str, Callable[[], Exception]] = {
    "cut": lambda: TransientError("the link is cut"),
    "board": lambda: BoardError("no room on the board"),
    "input": lambda: UserError("the input is wrong"),
    "store": lambda: CorruptArtifact("the store lost it"),
    "other run": lambda: BuildInProgress("another run makes it"),
    "internal": lambda: ZeroDivisionError(),
}
# Most often what does not end a run soon.
KINDS = st.sampled_from(["cut"] * 4 + ["board"] * 3 + ["store"] * 2 + list(ERRORS))


def graph_of(rows: list[tuple[int, tuple[str, ...]]], bound: dict[str, str]) -> Graph:
    """A row for each model and pool, as a plan has them; steps on the boards that `bound` says.

    Rows of one model make the same, as boards of one kind at two sites do.
    """
    steps: dict[str, Step] = {"images/x": Step("images/x", "images")}
    targets: dict[str, CellTargets] = {}

    def add(step: Step) -> str:
        steps[step.id] = step
        return step.id

    for number, (model, pool) in enumerate(rows):
        row = f"row{number}"
        convert = add(Step(f"convert/{row}", "convert", {"i": "images/x"}, params={"n": model}))
        inputs = {"artifact": convert, "images": "images/x"}
        made: dict[str, str] = {}
        for stage in ("measure", "extract"):
            name = f"{stage}/{row}"
            board = bound.get(name, pool[0])
            on = {"pool": pool, "board": board, "params": {"n": model}}
            deploy = f"deploy/{row}/{board}"
            if deploy not in steps:
                only = {"artifact": convert}
                add(Step(deploy, "deploy", only, params={"on": board}, pool=pool, board=board))
            made[stage] = add(Step(name, stage, inputs, (deploy,), units=1000, **on))
        score = add(Step(f"score/{row}", "score", {"f": made["extract"]}))
        targets[row] = CellTargets(score, made["measure"], "", "", convert, score)
    return Graph(steps, targets)


class Runs(RuleBasedStateMachine):
    """A shell whose boards and store do whatever hypothesis comes up with."""

    @initialize(
        rows=st.lists(
            st.tuples(
                st.integers(0, 2),
                st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(tuple),
            ),
            min_size=1,
            max_size=5,
        ),
        places=st.lists(st.sampled_from(["x", HEAD_DOMAIN, ""]), min_size=4, max_size=4),
        rungs=st.lists(st.sampled_from([(), ("reboot", "power")]), min_size=4, max_size=4),
        foreseen=st.booleans(),
        good=st.sampled_from([0, 2, 3, 3, 4]),  # most often, boards are at work then
    )
    def begin(
        self,
        rows: list[tuple[int, tuple[str, ...]]],
        places: list[str],
        rungs: list[tuple[str, ...]],
        foreseen: bool,
        good: int,
    ) -> None:
        """A run's start, and so many looks at which all goes well.

        Args:
            foreseen: all keys are known from the start, as in a simulation.
        """
        self.core = Scheduler(Deadlines(queue_s=60.0, lost_s=60.0), SLOTS)
        self.rows, self.now, self.foreseen = rows, 0.0, foreseen
        self.domains = {n: place or n for n, place in zip(NAMES, places, strict=True)}
        self.profiles = {
            name: m.BoardProfile(self.domains[name], each, 30.0)
            for name, each in zip(NAMES, rungs, strict=True)
        }
        self.bound: dict[str, str] = {}
        self.graph = graph_of(rows, {})
        self.held: set[str] = set()  # keys
        self.files: set[tuple[str, str]] = set()  # a board and the artifact that lies there
        self.running: dict[str, m.Start] = {}
        self.helping: dict[str, Step] = {}
        self.connecting: list[str] = []
        self.recovering: list[m.Recover] = []
        self.refused: set[str] = set()
        self.tell(m.PlanChanged(self.view()))
        self.look()
        for _ in range(good):
            self.all_goes_well()

    def resolution(self) -> Resolution:
        if not self.foreseen:
            return resolve(self.graph, lambda _, key: key if key in self.held else None)
        found = Resolution(keys={s: f"key of {s}" for s in self.graph.steps})
        found.contents = {s: key for s, key in found.keys.items() if key in self.held}
        found.todo = list(self.graph.steps)
        return found

    def view(self) -> m.PlanView:
        refusals = {(name, None): BoardError(f"{name} is draining") for name in self.refused}
        here = tuple(name for name in NAMES if self.domains[name] == HEAD_DOMAIN)
        self.spares = {
            step.id: here
            for step in self.graph.steps.values()
            if step.stage == "extract" and step.board in here
        }
        return m.PlanView(
            self.graph, self.resolution(), self.profiles, refusals=refusals, spares=self.spares
        )

    def tell(self, event: m.Event) -> None:
        self.sound = False
        self.carry_out(self.core.handle(event, self.now))
        self.sound = True

    def carry_out(self, instructions: list[m.Instruction]) -> None:
        for each in instructions:
            match each:
                case m.Start(step):
                    assert step.id not in self.running
                    assert self.core.steps.state(step.id) is StepState.RUNNING
                    assert each.key not in {s.key for s in self.running.values()}
                    for source in self.graph.sources(step.id):
                        assert self.core.steps.state(source) is StepState.DONE
                    if step.stage in ("measure", "extract"):
                        assert (step.board, step.inputs["artifact"]) in self.files
                    self.running[step.id] = each
                case m.Help(step, board):
                    assert step.id in self.running
                    assert board in (*step.pool, *self.spares.get(step.id, ()))
                    self.helping[board] = step
                case m.MoveSteps(moved):
                    assert all(moved[s] in self.graph.steps[s].pool for s in moved)
                    self.bound |= moved
                    self.graph = graph_of(self.rows, self.bound)
                    self.tell(m.StepsMoved(moved, self.view()))
                case m.InspectStore():
                    self.tell(m.PlanChanged(self.view(), inspected=True))
                case m.Connect(board):
                    self.connecting.append(board)
                case m.Recover(board):
                    self.loses_files(board)
                    self.recovering.append(each)
                case m.ResolvePlan():
                    self.tell(m.PlanChanged(self.view()))
                case m.GiveUp(board):
                    assert self.core.boards.error(board) is not None

    def look(self) -> None:
        self.tell(m.Look())
        self.tell(m.ReachBoards())

    def ended(self, started: m.Start) -> None:
        """A step has made what it is there for."""
        step = started.step
        del self.running[step.id]
        if step.stage == "deploy":
            self.files.add((step.board, step.inputs["artifact"]))
        else:
            self.held.add(started.key)
        self.tell(m.Finished(step))
        if not self.foreseen:
            self.tell(m.PlanChanged(self.view()))

    def loses_files(self, board: str) -> None:
        self.files = {each for each in self.files if each[0] != board}

    # -- what may happen -----------------------------------------------------------------------

    @rule()
    def all_goes_well(self) -> None:
        for board in self.connecting:
            self.tell(m.Connected(board))
        self.connecting.clear()
        while self.recovering:
            self.tell(m.Recovered(self.recovering.pop(0).board))
        for board in list(self.helping):
            self.tell(m.HelpEnded(self.helping.pop(board), board))
        for started in list(self.running.values()):
            self.ended(started)
            self.look()
        self.now += 5.0
        self.look()

    @rule(seconds=st.sampled_from([0.5, 5.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.look()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def one_finishes(self, data: st.DataObject) -> None:
        self.ended(self.running[data.draw(st.sampled_from(sorted(self.running)))])
        self.look()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), kind=KINDS, progressed=st.booleans())
    def one_fails(self, data: st.DataObject, kind: str, progressed: bool) -> None:
        on_boards = [step_id for step_id, each in self.running.items() if each.step.board]
        failing = data.draw(st.sampled_from(sorted(on_boards or self.running)))
        step = self.running.pop(failing).step
        if kind == "store" and self.foreseen:
            kind = "cut"  # a simulation has no store that could lose something
        if kind == "store" and self.held:
            lost = data.draw(st.sets(st.sampled_from(sorted(self.held)), max_size=2))
            self.held -= lost
        if kind in ("cut", "board"):
            self.loses_files(step.board)
        self.tell(m.Failed(step, failure_of(ERRORS[kind](), progressed=progressed)))
        self.look()

    @precondition(lambda self: self.helping)
    @rule(data=st.data(), kind=st.sampled_from(["", "cut", "board", "store"]))
    def help_ends(self, data: st.DataObject, kind: str) -> None:
        board = data.draw(st.sampled_from(sorted(self.helping)))
        step = self.helping.pop(board)
        if kind in ("cut", "board"):
            self.loses_files(board)
        self.tell(m.HelpEnded(step, board, failure_of(ERRORS[kind]()) if kind else None))
        self.look()

    @precondition(lambda self: self.connecting)
    @rule(how=st.sampled_from(["cut", "busy", "board", "unfit"]))
    def connecting_fails(self, how: str) -> None:
        board = self.connecting.pop(0)
        if how == "unfit":
            self.tell(m.Unfit(board, BoardError("its check failed")))
        else:
            error = BoardBusy("used by ann") if how == "busy" else ERRORS[how]()
            self.tell(m.ConnectFailed(board, failure_of(error)))
        self.look()

    @precondition(lambda self: self.recovering)
    @rule()
    def recovery_fails(self) -> None:
        recovery = self.recovering.pop(0)
        self.tell(m.RecoveryFailed(recovery.board, recovery.reason))
        self.look()

    @rule(board=st.sampled_from(NAMES))
    def drained_or_put_back(self, board: str) -> None:
        self.refused ^= {board}
        self.tell(m.PlanChanged(self.view()))
        self.look()

    # -- what must hold ------------------------------------------------------------------------

    @invariant()
    def each_board_does_one_thing_and_a_measurement_is_alone_in_its_domain(self) -> None:
        at_work = [(s.step.board, s.step.stage) for s in self.running.values()]
        at_work += [(board, "extract") for board in self.helping]
        boards = [board for board, _ in at_work if board]
        assert len(boards) == len(set(boards))
        assert sum(not board for board, _ in at_work) <= SLOTS
        places = [self.domains.get(board, HEAD_DOMAIN) for board, _ in at_work]
        for (_, stage), place in zip(at_work, places, strict=True):
            assert stage != "measure" or places.count(place) == 1

    @invariant()
    def the_index_holds_what_going_through_all_steps_would_find(self) -> None:
        steps = self.core.steps
        ready = {
            s
            for s in self.graph.steps
            if steps.state(s) is StepState.WAITING
            and all(steps.state(each) is StepState.DONE for each in self.graph.sources(s))
        }
        assert set(steps.ready.since) == ready
        filed = {s for line in steps.ready._lines.values() for s in line}
        assert filed == {s for s in ready if self.graph.steps[s].board}
        near = {
            step.id
            for step in steps.in_state(StepState.WAITING)
            if step.stage in ("measure", "extract")
            and all(
                steps.state(each) is StepState.DONE or self.graph.steps[each].stage == "deploy"
                for each in self.graph.sources(step.id)
            )
        }
        assert {s for name in NAMES for s in steps.ready.near(name)} == near

    @invariant()
    def every_idle_board_says_why_and_nothing_is_said_twice(self) -> None:
        if not getattr(self, "sound", False):
            return
        steps, said = self.core.steps, self.core.handle(m.Explain(), self.now)
        assert self.core.handle(m.Explain(), self.now) == []
        boards = [board for each in said for board in each.boards]
        assert len(boards) == len(set(boards))
        reasons = [each.reason for each in said]
        assert len(reasons) == len(set(reasons))
        for each in said:
            if each.reason is None:
                continue
            why, subject = each.reason.why, each.reason.subject
            assert not any(steps.underway.busy(board) for board in each.boards)
            if why is m.Why.INPUT:
                assert steps.state(subject) is not StepState.DONE
            elif why is m.Why.MEASUREMENT:
                assert self.graph.steps[subject].stage == "measure"
            elif why is m.Why.SAME:
                assert subject in self.running
            elif why is m.Why.RETRY:
                assert steps.record(subject).not_before > self.now
        # Right after a look at the plan, whoever could work does.
        for board, reason in self.core._reasons.reasons(self.now).items():
            assert board in self.core.boards.all_connected
            assert reason.domain in ("", self.domains[board])

    @invariant()
    def what_runs_is_what_was_started(self) -> None:
        found = {step.id for step in self.core.steps.in_state(StepState.RUNNING)}
        assert found == set(self.running) & set(self.graph.steps)
        assert set(self.core.steps.underway.steps) == set(self.running)

    def teardown(self) -> None:
        """From here on all goes well: then each run ends, and no step is lost."""
        if not getattr(self, "sound", False):
            return  # what failed says so itself
        for _ in range(400):
            if self.core.finished and not self.running:
                break
            self.all_goes_well()
        steps = self.core.steps
        assert self.core.finished, [s.id for s in steps.in_state(StepState.WAITING)]
        for target in self.graph.targets.values():
            for step_id in target.figures:
                # A row is done and its figures are held, or a step on its way says why not.
                state = steps.state(step_id)
                # One that was made counts, even if the store lost it and its inputs for good.
                made = self.resolution().cached(step_id) or steps.record(step_id).finished_here
                assert state is not StepState.DONE or made
                if state is StepState.FAILED:
                    assert steps.record(step_id).error


Runs.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
test_the_core_keeps_its_promises_whatever_happens = Runs.TestCase
