"""The driver's part that deals with failures: again, on another board, or given up."""

from __future__ import annotations

import sys
import time
import traceback
from typing import cast

from orchestrator.errors import BoardError, FarmError, TransientError
from orchestrator.events import StepFailed, StepSkipped
from orchestrator.planning.graph import Step
from orchestrator.scheduling.pooling import Pooling
from orchestrator.scheduling.remaking import undone
from orchestrator.scheduling.roster import ATTEMPTS, BACKOFF_S
from orchestrator.scheduling.words import error_class
from orchestrator.store.artifacts import BeingMade, Spoiled


class Failing(Pooling):
    """State and methods of the driver, used from its thread.

    What an error's class decides is in docs/architecture.md, Failure.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: set[str] = set()
        self._errors: dict[str, str] = {}
        self._in_vain: dict[str, int] = {}
        self._bug = False

    def _failed(self, step: Step, error: BaseException) -> None:
        self._under_way.pop(step.id, None)
        if self._stop.is_set():
            self._state[step.id] = "waiting"
            return
        if not isinstance(error, FarmError):
            self._bug = True
            print(f"--- {step.id}", file=sys.stderr)
            traceback.print_exception(error)
        if self._executor.advanced(step.id):
            self._in_vain[step.id] = 0  # it got on: what fails now is not what failed before
        tries = self._in_vain[step.id] = self._in_vain.get(step.id, 0) + 1
        if isinstance(error, (Spoiled, BeingMade)):
            self._failed_by_store(step, error, tries)
            return
        if isinstance(error, TransientError) and tries < ATTEMPTS:
            self._state[step.id] = "waiting"
            self._not_before[step.id] = time.monotonic() + BACKOFF_S[tries - 1]
            self._fail(step, error, retry=True)
            if step.board:
                # Whatever it was, a new session starts from a known state.
                self._leases.lost(step.board)
                self._redeploy(step.board)
            return
        if not step.board:
            self._fail(step, error, retry=False)
            return
        lost = isinstance(error, (BoardError, TransientError))
        if lost and self._leases.recoverable(step.board, error):
            self._state[step.id], self._in_vain[step.id] = "waiting", 0
            self._fail(step, error, retry=True)
            self._redeploy(step.board)
            self._leases.recover(step.board, cast(FarmError, error))
            return
        if isinstance(error, BoardError):
            self._roster.unfit(step.board, error)
        elif isinstance(error, TransientError):
            self._leases.lost(step.board)
            self._redeploy(step.board)
            self._roster.step_failed(step.board, error)
        if lost and len(step.pool) > 1 and self._another_board(step):
            self._state[step.id], self._in_vain[step.id] = "waiting", 0
            self._fail(step, error, retry=True)
        else:
            self._fail(step, error, retry=False)
        if (reason := self._roster.error(step.board)) is not None:
            self._leases.give_up(step.board, reason)
        elif self._roster.connected(step.board):
            self._leases.say(step.board, "ready")

    def _failed_by_store(self, step: Step, error: Spoiled | BeingMade, tries: int) -> None:
        """No board's fault: a lost input is made again, who waited in vain has waited enough."""
        again = isinstance(error, Spoiled) and tries < ATTEMPTS
        if again:
            self._state[step.id] = "waiting"
        self._fail(step, error, retry=again)
        if step.board and self._roster.connected(step.board):
            self._leases.say(step.board, "ready")
        self._plan.forget()
        self._plan.resolve()
        self._made -= undone(self._plan.graph, self._plan.resolution, self._made)
        self._settle()

    def _redeploy(self, board: str) -> None:
        """A board that was lost may have lost its files: look again before its next steps."""
        graph = self._plan.graph
        for step in graph.steps.values():
            if step.board != board or self._state[step.id] != "waiting":
                continue
            for source in graph.sources(step.id):
                if graph.steps[source].stage == "deploy" and self._state[source] == "done":
                    self._state[source] = "waiting"

    def _fail(self, step: Step, error: BaseException, *, retry: bool) -> None:
        message = error.message if isinstance(error, FarmError) else f"farm's own bug: {error!r}"
        hint = "please report it with driver.log of the run"
        if not retry:
            self._state[step.id] = "failed"
            self._errors[step.id] = message
        self._reporter.emit(
            StepFailed(
                step=step.id,
                stage=step.stage,
                board=step.board,
                executed_by=step.executed_by,
                error=error_class(error),
                message=message,
                hint=error.hint if isinstance(error, FarmError) else hint,
                retry=retry,
            )
        )

    def _skip(self, step: Step, because: str) -> None:
        self._state[step.id] = "skipped"
        self._reporter.emit(
            StepSkipped(step=step.id, stage=step.stage, board=step.board, because=because)
        )
