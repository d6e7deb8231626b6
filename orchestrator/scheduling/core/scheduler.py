"""The state machine of a run: events in, instructions out. Pure, on a clock it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from orchestrator.planning.graph import Step
from orchestrator.scheduling.core.boards import BoardTable, Limits
from orchestrator.scheduling.core.choosing import Candidate, choose
from orchestrator.scheduling.core.failures import Failures
from orchestrator.scheduling.core.messages import (
    Connected,
    ConnectedFromStart,
    ConnectFailed,
    Event,
    Explain,
    Failed,
    Failure,
    FailureKind,
    Finished,
    HeadLost,
    Help,
    HelpEnded,
    Instruction,
    Look,
    MoveSteps,
    PlanChanged,
    ReachBoards,
    Recover,
    Recovered,
    RecoveryFailed,
    ReportSkip,
    Start,
    StepsMoved,
    Stop,
    Unfit,
)
from orchestrator.scheduling.core.pools import rebound, usable, wanted_helpers
from orchestrator.scheduling.core.states import UNFINISHED, StepState
from orchestrator.scheduling.core.steps import Steps
from orchestrator.scheduling.core.underway import helper_id
from orchestrator.scheduling.core.waiting import Reasons

_BOARD_NEWS = {Failed, HelpEnded, ConnectFailed, Unfit, RecoveryFailed}
"""After these a board may be of no use to a step that waits for it."""


@cache  # many steps have the same
def _attempt(number: int, board: str) -> str:
    return f"attempt {number}" + (f" on {board}" if board else "")


class Scheduler:
    """Steps and boards of a run. Used from one thread.

    Args:
        limits: how long boards are waited for.
        slots: steps on the head at a time.
        connections: boards that are being connected at a time.

    Attributes:
        steps, boards: to be read; only events change them.
    """

    def __init__(self, limits: Limits, slots: int, connections: int = 4) -> None:
        self.steps = Steps()
        self.boards = BoardTable(limits, connections)
        self._failures = Failures(self.steps, self.boards)
        self._reasons = Reasons(self.steps, self.boards)
        self._slots = slots
        self._stopping = False
        self._recheck = True  # whether a board may have become of no use to a waiting step
        self._looking = False  # whether a look waits for its steps to be moved
        self._computes = True
        self._handlers: dict[type[Any], Callable[[Any, float], list[Instruction]]] = {
            PlanChanged: self._plan_changed,
            StepsMoved: self._steps_moved,
            Look: self._look,
            Explain: self._explain,
            ReachBoards: self._reach_boards,
            Finished: self._finished,
            Failed: self._failed,
            HelpEnded: self._help_ended,
            Connected: self._connected,
            ConnectedFromStart: self._connected_from_start,
            ConnectFailed: self._connect_failed,
            Unfit: self._unfit,
            Recovered: self._recovered,
            RecoveryFailed: self._recovery_failed,
            HeadLost: self._head_lost,
            Stop: self._stop,
        }

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take in what happened; returns what is to be done, in this order.

        Args:
            event: what happened.
            now: seconds on a clock that never goes back.

        Raises:
            InvalidTransition: the event does not fit what happened before.
        """
        kind = type(event)
        if kind in _BOARD_NEWS and not (isinstance(event, HelpEnded) and event.failure is None):
            self._recheck = True
        out = self._handlers[kind](event, now)
        for each in out:
            if isinstance(each, Recover):  # a board that boots may have lost its files
                self.steps.deploy_again(each.board, now)
        return out

    @property
    def finished(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return next(self.steps.in_state(*UNFINISHED), None) is None

    # -- the plan ------------------------------------------------------------------------------

    def _plan_changed(self, event: PlanChanged, now: float) -> list[Instruction]:
        before = self.steps.plan
        self.boards.take_plan(event.plan)
        waits_again = self.steps.take_plan(event.plan, event.inspected, now)
        same = event.plan.graph is before.graph and event.plan.refusals == before.refusals
        self._recheck |= waits_again or not same
        return []

    def _steps_moved(self, event: StepsMoved, now: float) -> list[Instruction]:
        if event.plan is not None:
            self.handle(PlanChanged(event.plan), now)
        else:
            for step_id in event.moved:
                self.steps.ready.refile(step_id)
        if not self._looking:
            return []
        self._looking = False
        return self._start(now)

    # -- starting ------------------------------------------------------------------------------

    def _look(self, look: Look, now: float) -> list[Instruction]:
        self._computes = look.computes
        moved = self._moved(now) if self._recheck or self.steps.ready.near_pooled else {}
        if not moved:
            return self._start(now)
        self._looking = True
        return [MoveSteps(moved)]

    def _moved(self, now: float) -> dict[str, str]:
        """Steps for other boards of their pool: theirs is out of use, or others are free."""
        if self._recheck:
            waiting = self.steps.in_state(StepState.WAITING)
            pooled = [s for s in waiting if len(s.pool) > 1 and s.facts.executes]
        else:
            pooled = self.steps.ready.in_order(self.steps.ready.near_pooled)
        ready, graph = self.steps.ready, self.steps.plan.graph

        def free(name: str) -> bool:
            return self.boards.open(name) and not self.steps.underway.busy(name)

        def in_line(name: str) -> list[str]:
            return [s for s in ready.near(name) if self.steps.may_move(graph.steps[s], now)]

        return rebound(
            pooled,
            startable=lambda step: step.id in ready.near_pooled and self.steps.may_move(step, now),
            next_up=lambda step: (
                free(step.board)
                and min(in_line(step.board), key=ready.position.__getitem__) == step.id
            ),
            usable=self._usable,
            idle=lambda name: free(name) and not in_line(name),
        )

    def _usable(self, step: Step, board: str) -> bool:
        return usable(step, board, self.steps, self.boards)

    def _start(self, now: float) -> list[Instruction]:
        out = self._skip_blocked(now)
        if self._recheck:
            self._recheck = False
            for step in [s for s in self.steps.in_state(StepState.WAITING) if s.board]:
                error = self.boards.refusal(step.board, step.extra.get("runtime"))
                if error is not None:
                    out.append(self._failures.fail(step, Failure(FailureKind.BOARD, error), now))
            out += self._skip_blocked(now)
        underway, graph = self.steps.underway, self.steps.plan.graph
        taking_turns = underway.load.turns > 0
        upcoming = self.steps.ready.upcoming

        def allowed(step: Candidate) -> bool:
            facts = step.facts
            if facts.takes_turns and taking_turns:
                return False
            if facts.shares_processors and upcoming.measured_first(step.board):
                return False
            if facts.needs_ray and not self._computes:
                return False
            return self.steps.may_start(step.id, now)

        room = self._slots - underway.load.on_head
        if self._slots > 1 and self.boards.first_to_come(now):  # connecting computes here, too
            room -= 1
        ready = self.steps.ready.front(allowed, underway.busy, self.boards.open, self._slots, room)
        helped: dict[str, Step] = {}
        if underway.pooled or self.steps.plan.spares:
            for step, candidate in self._helpers(ready, now):
                helped[candidate.id] = step
                ready.append(candidate)
        if not ready:
            return out
        begun = False
        for chosen in choose(ready, underway.load, self._slots, upcoming.extractions):
            if chosen.id in helped:
                step = helped[chosen.id]
                underway.help(step, chosen)
                self._reasons.started(chosen.board)
                out.append(Help(step, chosen.board))
            elif not begun or self.steps.may_start(chosen.id, now):  # one begun may make the same
                begun = True
                out.append(self._begin(graph.steps[chosen.id], chosen, now))
        return out

    def _skip_blocked(self, now: float) -> list[Instruction]:
        return [ReportSkip(step, because) for step, because in self.steps.blocked(now)]

    def _begin(self, step: Step, candidate: Candidate, now: float) -> Start:
        record, key = self.steps.record(step.id), self.steps.plan.resolution.keys[step.id]
        waited_s = now - self.steps.ready.since[step.id]
        record.attempts += 1
        why = _attempt(record.attempts, step.board)
        self.steps.move(step.id, StepState.RUNNING, why, now)
        self.steps.underway.start(step, key, candidate, now)
        self._reasons.started(step.board)
        return Start(step, key, record.attempts, waited_s)

    def _as_helper(self, step: Step, board: str) -> Candidate:
        domain = self.steps.plan.boards[board].domain
        return Candidate(helper_id(step, board), step.stage, board, domain, 0, helps=True)

    def _helpers(self, ready: list[Candidate], now: float) -> Iterator[tuple[Step, Candidate]]:
        """Boards that could help now, with nothing of their own to do: where most is left first."""
        underway, plan = self.steps.underway, self.steps.plan
        spares = plan.spares if underway.load.extracting < self._slots else {}
        led = underway.pooled
        if spares:
            led = led | {i: s for i, s in underway.steps.items() if s.facts.shared and i in spares}
        if not led:
            return
        taken = {candidate.board for candidate in ready}

        helpers = Counter(step.id for step in underway.helping.values())

        def left(step: Step) -> tuple[float, int, float]:
            """Seconds, divided by the boards at work; then few boards and a late start count."""
            boards, since = 1 + helpers[step.id], underway.since[step.id]
            alone_s = plan.ranks.get(step.id, 0.0) - (now - since)
            return max(0.0, alone_s) / boards, -boards, since

        for step in sorted(led.values(), key=left, reverse=True):
            runtime = step.extra.get("runtime", "")
            for name in wanted_helpers(step, self._usable, spares.get(step.id, ())):
                free = self.boards.open(name) and not underway.busy(name)
                if name in taken or not free or not underway.may_help(step, name):
                    continue
                known = None if plan.facts is None else plan.facts.get(name)
                identity = None if known is None else known.runtime_identity(runtime)
                if plan.facts is not None and identity != step.params.get("runtime"):
                    continue
                taken.add(name)
                yield step, self._as_helper(step, name)

    def _explain(self, _: Explain, now: float) -> list[Instruction]:
        return list(self._reasons.changes(now))

    # -- results -----------------------------------------------------------------------

    def _ended(self, step: Step) -> None:
        self.steps.underway.end(step)
        self.steps.ready.freed(step.board)

    def _finished(self, event: Finished, now: float) -> list[Instruction]:
        step = event.step
        self._ended(step)
        record = self.steps.record(step.id)
        record.finished_here, record.failed_attempts = True, 0
        record.deployed_on = step.board if step.facts.prepares_board else ""
        self.steps.move(step.id, StepState.DONE, "finished", now)
        if step.board:
            self.boards.step_done(step.board)
        return []

    def _failed(self, event: Failed, now: float) -> list[Instruction]:
        self._ended(event.step)
        if self._stopping:
            self.steps.move(event.step.id, StepState.WAITING, "the run is being stopped", now)
            return []
        return self._failures.step(event.step, event.failure, now)

    def _help_ended(self, event: HelpEnded, now: float) -> list[Instruction]:
        self.steps.underway.help_ended(event.board)
        self.steps.ready.freed(event.board)
        if event.failure is None:
            self.boards.step_done(event.board)
            return []
        if self._stopping:
            return []
        return self._failures.helper(event.step, event.board, event.failure, now)

    def _head_lost(self, event: HeadLost, now: float) -> list[Instruction]:
        failure = Failure(FailureKind.CLUSTER_DOWN, event.error)
        lost = list(self.steps.in_state(*UNFINISHED))
        for step in lost:
            self._ended(step)
        return [self._failures.fail(step, failure, now) for step in lost]

    def _stop(self, _: Stop, now: float) -> list[Instruction]:
        self._stopping = True
        return []

    # -- boards --------------------------------------------------------------------------------

    def _reach_boards(self, _: ReachBoards, now: float) -> list[Instruction]:
        return self.boards.reach(self._wanted(), now)

    def _wanted(self) -> set[str]:
        """Boards that have something to do, are doing it, or may help or take over."""
        underway = self.steps.underway
        wanted, spares = set(underway.helping), self.steps.plan.spares
        groups: dict[int, tuple[str, ...]] = {}
        # A step that runs may have left the plan meanwhile, when its row moved to another board.
        wanted |= {step.board for step in underway.steps.values() if step.board}
        for step in self.steps.in_state(*UNFINISHED):
            if not step.facts.on_board:
                continue
            wanted.add(step.board)
            if step.id in spares:
                groups[id(spares[step.id])] = spares[step.id]
            if len(step.pool) > 1:
                wanted |= set(wanted_helpers(step, self._usable))
                waiting = self.steps.state(step.id) is StepState.WAITING
                if waiting and self.boards.delayed(step.board):
                    wanted |= {name for name in step.pool if self._usable(step, name)}
        for names in groups.values():
            wanted |= {name for name in names if self.boards.connected(name)}
        # What is reserved by somebody else is given back when its step has ended.
        return {name for name in wanted if not self._to_give_back(name)}

    def _to_give_back(self, board: str) -> bool:
        held = self.boards.connected(board) and not self.boards.open(board)
        return held and not self.steps.underway.busy(board)

    def _connected(self, event: Connected, now: float) -> list[Instruction]:
        self.boards.reached(event.board)
        return []

    def _connected_from_start(self, event: ConnectedFromStart, now: float) -> list[Instruction]:
        for board in event.boards:
            self.boards.connecting(board, now)
            self.boards.reached(board)
        return []

    def _connect_failed(self, event: ConnectFailed, now: float) -> list[Instruction]:
        if self._stopping:
            return []
        return self.boards.connect_failed(event.board, event.failure, now)

    def _unfit(self, event: Unfit, now: float) -> list[Instruction]:
        return [self.boards.unfit(event.board, event.error, event.found)]

    def _recovered(self, event: Recovered, now: float) -> list[Instruction]:
        if not self._stopping:
            self.boards.recovered(event.board, now)
        return []

    def _recovery_failed(self, event: RecoveryFailed, now: float) -> list[Instruction]:
        if self._stopping:
            return []
        return [self.boards.recovery_failed(event.board, event.reason)]
