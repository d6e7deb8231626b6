"""What a failed step does next: again, on a recovered board, on another board, or not at all. Pure.

| what failed | the step | its board |
|---|---|---|
| an input is damaged in the store | again once it is rebuilt, `ATTEMPTS` times | as it is |
| another run still makes it | fails: it has waited `queue_s` already | as it is |
| transient | again after a backoff, `ATTEMPTS` times | a new connection, files deployed again |
| transient at the last attempt | see below | a failure more; two in a row: out of the run |
| the board | see below | out of the run |
| anything else | fails | as it is |

Below: the board's next recovery rung, then another board of the pool, then the step fails.
An attempt that brought something that is kept starts the count again.
"""

from __future__ import annotations

from orchestrator.planning.graph import Step
from orchestrator.scheduling.core.boards import ATTEMPTS, BACKOFF_S, BoardTable
from orchestrator.scheduling.core.messages import (
    Failure,
    FailureKind,
    GiveUp,
    InspectStore,
    Instruction,
    ReportBoard,
    ReportFailure,
    Warn,
)
from orchestrator.scheduling.core.pools import usable
from orchestrator.scheduling.core.states import StepState
from orchestrator.scheduling.core.steps import Steps


class Failures:
    """The failure policy of a run, over its steps and boards."""

    def __init__(self, steps: Steps, boards: BoardTable) -> None:
        self._steps, self._boards = steps, boards

    def step(self, step: Step, failure: Failure, now: float) -> list[Instruction]:
        """An attempt failed."""
        kind, board = failure.kind, step.board
        record = self._steps.record(step.id)
        if failure.progressed:
            record.failed_attempts = 0
        record.failed_attempts += 1
        more = record.failed_attempts < ATTEMPTS
        if kind.of_store:
            again = more and kind is FailureKind.CORRUPT_ARTIFACT
            report = self._again(step, failure, now) if again else self.fail(step, failure, now)
            ready = [ReportBoard(board, "ready")] if board and self._boards.connected(board) else []
            return [report, *ready, InspectStore()]
        if kind.transient and more:
            record.not_before = now + BACKOFF_S[record.failed_attempts - 1]
            report = self._again(step, failure, now)
            if board:
                # Whatever it was, a new session starts from a known state.
                self._lose(board, now)
            return [report]
        if not board:
            return [self.fail(step, failure, now)]
        lost = kind.of_board or kind.transient
        if lost and self._boards.recoverable(board, failure):
            report = self._again(step, failure, now, anew=True)
            self._steps.deploy_again(board, now)
            recovery = self._boards.recover(board, failure.error)
            return [report, *([recovery] if recovery else [])]
        if kind.of_board:
            self._boards.out(board, failure.error)
        elif kind.transient:
            self._lose(board, now)
            self._boards.step_failed(board, failure.error)
        if lost and len(step.pool) > 1 and self._another_board(step):
            report = self._again(step, failure, now, anew=True)
        else:
            report = self.fail(step, failure, now)
        if (reason := self._boards.error(board)) is not None:
            return [report, GiveUp(board, reason)]
        ready = [ReportBoard(board, "ready")] if self._boards.connected(board) else []
        return [report, *ready]

    def helper(self, step: Step, board: str, failure: Failure, now: float) -> list[Instruction]:
        """A board broke off helping with a step, which goes on without it."""
        kind = failure.kind
        out: list[Instruction] = [Warn(board, failure.error.message)]
        if kind.transient and kind is not FailureKind.CORRUPT_ARTIFACT:
            self._lose(board, now)
        elif kind.of_board and kind is not FailureKind.UNLIKE:
            self._boards.out(board, failure.error)
            return [*out, GiveUp(board, failure.error)]
        connected = self._boards.connected(board)
        return [*out, ReportBoard(board, "ready" if connected else "connecting")]

    def fail(self, step: Step, failure: Failure, now: float) -> ReportFailure:
        """Give a step up for good."""
        self._steps.record(step.id).error = failure.error.message
        self._steps.move(step.id, StepState.FAILED, failure.error.message, now)
        return ReportFailure(step, failure, retry=False)

    def _again(
        self, step: Step, failure: Failure, now: float, *, anew: bool = False
    ) -> ReportFailure:
        """The step waits for another attempt; `anew`: with all its attempts before it."""
        if anew:
            self._steps.record(step.id).failed_attempts = 0
        self._steps.move(step.id, StepState.WAITING, failure.error.message, now)
        return ReportFailure(step, failure, retry=True)

    def _lose(self, board: str, now: float) -> None:
        self._boards.lost(board)
        self._steps.deploy_again(board, now)

    def _another_board(self, step: Step) -> bool:
        """Whether others of the pool may do what failed on this board."""
        graph = self._steps.plan.graph
        steps = [step]
        if step.facts.prepares_board:
            steps = [s for s in graph.steps.values() if step.id in graph.sources(s.id)]
        for each in steps:
            self._steps.record(each.id).failed_on |= {step.board}
        return bool(steps) and all(
            any(usable(each, name, self._steps, self._boards) for name in step.pool)
            for each in steps
        )
