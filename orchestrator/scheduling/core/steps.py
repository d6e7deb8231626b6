"""The steps of a run: their states, what is remembered of each, which are ready. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.planning.graph import Graph, Step
from orchestrator.planning.resolving import Resolution
from orchestrator.scheduling.core.invalidation import undone
from orchestrator.scheduling.core.messages import PlanView
from orchestrator.scheduling.core.ready import Ready
from orchestrator.scheduling.core.states import UNSUCCESSFUL, States, StepState
from orchestrator.scheduling.core.underway import Underway


@dataclass(slots=True)
class Record:
    """What is remembered of a step.

    Attributes:
        attempts: how often it was started.
        failed_attempts: how often it failed since it last made progress.
        not_before: when it may be tried again.
        finished_here: whether this run created its output.
        deployed_on: the board that got it, of a deploy that is made.
        failed_on: boards that do not get it again.
        error: why it failed; empty while it has not.
    """

    attempts: int = 0
    failed_attempts: int = 0
    not_before: float = 0.0
    finished_here: bool = False
    deployed_on: str = ""
    failed_on: frozenset[str] = frozenset()
    error: str = ""


class Steps:
    """The steps of a run, each in one state.

    Attributes:
        plan: as it is now.
        underway: what runs.
        ready: which could start.
        changes: rises with each change of a state or of the plan.
    """

    def __init__(self) -> None:
        self.plan = PlanView(Graph({}, {}), Resolution(), {})
        self.underway = Underway()
        self.changes = 0
        self._states: States[StepState] = States("step", StepState.WAITING)
        self._records: dict[str, Record] = {}
        self.ready = Ready(self.plan, self._states, {}, 0.0, self._tried)
        self._blocked: list[tuple[int, str]] = []  # steps behind one that has no output
        self._unsuccessful: list[str] = []
        self._needed: set[str] = set()  # by the plan as it is now
        self._touched: set[str] = set()  # whose state or record changed since that was taken in

    def state(self, step_id: str) -> StepState:
        """A step's state."""
        return self._states[step_id]

    def story(self, step_id: str) -> str:
        """A step's latest transitions."""
        return self._states.story(step_id)

    def record(self, step_id: str) -> Record:
        """What is remembered of a step."""
        found = self._records.get(step_id)
        if found is None:
            found = self._records[step_id] = Record()
        return found

    def _tried(self, step_id: str) -> bool:
        record = self._records.get(step_id)
        return record is not None and record.attempts > 0

    def move(self, step_id: str, to: StepState, why: str, now: float) -> None:
        """Change a step's state.

        Raises:
            InvalidTransition: it may not.
        """
        self.changes += 1
        before = self._states.move(step_id, to, why)
        self.ready.moved(step_id, before, to, now)
        self._touched.add(step_id)
        if to is StepState.FAILED or to is StepState.SKIPPED:
            self._unsuccessful.append(step_id)
            position = self.ready.position
            for each in self.ready.sources.after.get(step_id, ()):
                heapq.heappush(self._blocked, (position[each], each))

    def take_plan(self, plan: PlanView, inspected: bool, now: float) -> bool:
        """Another plan, or another content of the store: what is not needed counts as done.

        Args:
            inspected: the store was read again; what it has lost is to be rebuilt.

        Returns:
            Whether a step that was done waits again.
        """
        self.changes += 1
        waits_again = False
        graph, needed = plan.graph, set(plan.resolution.todo)
        if inspected:
            finished = [
                step_id for step_id, record in self._records.items() if record.finished_here
            ]
            for step_id in undone(graph, plan.resolution, finished):
                self._records[step_id].finished_here = False
                self._touched.add(step_id)
        position = self.ready.position
        step_ids: Iterable[str] = graph.steps
        if graph is self.plan.graph:  # nothing changes for all others
            changed = self._touched | (needed ^ self._needed)
            step_ids = sorted(position.keys() & changed, key=position.__getitem__)
        same = graph is self.plan.graph and plan.same_order(self.plan)
        self.plan, self._needed, self._touched = plan, needed, set()
        for step_id in step_ids:
            state, before = self._states[step_id], None
            if state is StepState.WAITING and step_id not in needed:
                before = self._states.move(step_id, StepState.DONE, "held, or not needed")
            elif (
                state is StepState.DONE
                and step_id in needed
                and not self.record(step_id).finished_here
            ):
                before = self._states.move(step_id, StepState.WAITING, "needed, and not held")
                waits_again = True
            if before is not None and same:
                self.ready.moved(step_id, before, self._states[step_id], now)
        if not same:
            self.ready = Ready(plan, self._states, self.ready.since, now, self._tried)
        self._blocked = [
            (self.ready.position[each], each)
            for step_id in self._unsuccessful
            for each in self.ready.sources.after.get(step_id, ())
        ]
        heapq.heapify(self._blocked)
        return waits_again

    def in_state(self, *states: StepState) -> Iterator[Step]:
        """The plan's steps in some states, in the plan's order."""
        state_of = self._states
        for step_id, step in self.plan.graph.steps.items():
            if state_of[step_id] in states:
                yield step

    def blocked(self, now: float) -> list[tuple[Step, str]]:
        """Skip the waiting steps that have a source without output; gives each with that source."""
        graph, found = self.plan.graph, []
        while self._blocked:
            step_id = heapq.heappop(self._blocked)[1]
            if self._is_gone(step_id):
                self.record(step_id).finished_here = False
                self.move(step_id, StepState.WAITING, "its output is gone", now)
            if self._states[step_id] is not StepState.WAITING:
                continue
            because = next(s for s in graph.sources(step_id) if self._states[s] in UNSUCCESSFUL)
            self.move(step_id, StepState.SKIPPED, f"{because} has no output", now)
            found.append((graph.steps[step_id], because))
        return found

    def _is_gone(self, step_id: str) -> bool:
        """Whether the output of a done step, below one without output, can no longer be named.

        The store lost what it was made of, and that could not be rebuilt: its key is unknown from
        then on, and what waits for it would wait for ever.
        """
        return (
            self._states[step_id] is StepState.DONE
            and self.plan.resolution.keys.get(step_id) is None
            and any(
                self._states[each] is StepState.WAITING
                for each in self.ready.sources.after.get(step_id, ())
            )
        )

    def may_start(self, step_id: str, now: float) -> bool:
        """Whether a ready step is not held back: by its backoff, an unknown key, or its twin.

        A running step may make the same, as boards of one kind at two sites would; to start both
        would only keep one board waiting for the other.
        """
        key = self.plan.resolution.keys.get(step_id)
        if key is None or key in self.underway.making:
            return False
        record = self._records.get(step_id)
        return record is None or record.not_before <= now

    def may_move(self, step: Step, now: float) -> bool:
        """Whether a waiting step that lacks nothing but a deploy may start, apart from its board.

        Another board needs another deploy, so a running one keeps the step where it is.
        """
        record = self._records.get(step.id)
        graph = self.plan.graph
        return (
            (record is None or record.not_before <= now)
            and self.plan.resolution.keys.get(step.id) not in self.underway.making
            and not any(
                graph.steps[s].facts.prepares_board and self._states[s] is StepState.RUNNING
                for s in graph.sources(step.id)
            )
        )

    def deploy_again(self, board: str, now: float) -> None:
        """A board that was lost may have lost its files: look again before its next steps."""
        graph = self.plan.graph
        for step_id, record in self._records.items():
            if record.deployed_on == board:  # also for steps that are moved there later
                record.finished_here = False
                self._touched.add(step_id)
        for step in graph.steps.values():
            if step.board != board or self._states[step.id] is not StepState.WAITING:
                continue
            for source in graph.sources(step.id):
                done = self._states[source] is StepState.DONE
                if graph.steps[source].facts.prepares_board and done:
                    self.move(source, StepState.WAITING, f"{board} may have lost its files", now)
