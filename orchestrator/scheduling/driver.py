"""The driver: runs a plan to its end. The only writer of the run's event log and of the store.

It decides nothing: it tells the scheduling core what happened and carries out what that wants
done (`core/`). Everything but steps and connections happens in one thread.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from pathlib import Path

from orchestrator.cluster.boards import Boards
from orchestrator.cluster.compute import Compute
from orchestrator.cluster.host_actor import boards_per_host
from orchestrator.cluster.ray_cluster import RayCluster
from orchestrator.errors import FarmError
from orchestrator.events import (
    Note,
    RunFinished,
    StepFailed,
    StepFinished,
    StepSkipped,
    StepStarted,
)
from orchestrator.execution.executor import Executor, Outcome
from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.planning.graph import Step
from orchestrator.preflight.caches import FactsFile
from orchestrator.preflight.planner import Plan
from orchestrator.scheduling.background import Background
from orchestrator.scheduling.core import messages as m
from orchestrator.scheduling.core.scheduler import Scheduler
from orchestrator.scheduling.core.states import UNSUCCESSFUL
from orchestrator.scheduling.error_labels import error_class, failure_of
from orchestrator.scheduling.learning import Learning
from orchestrator.scheduling.leases import CONNECTIONS, Leases
from orchestrator.scheduling.plan_reports import PlanReports
from orchestrator.scheduling.plan_upkeep import PlanUpkeep
from orchestrator.scheduling.reporter import Reporter
from orchestrator.scheduling.waits import Waits


class Driver:
    """A run: the core, and all that carries out its instructions.

    Args:
        plan: what is to be done; its rows `ended` are reported already.
        run: the run's name.
        reporter: its event log, with the plan in it.
        stop: set when the run is to end early.
        deadlines: how long what may take.
        ray: being entered, or entered already.
    """

    def __init__(
        self,
        plan: Plan,
        run: str,
        reporter: Reporter,
        stop: threading.Event,
        deadlines: Deadlines,
        ray: RayCluster,
        ended: Iterable[str] = (),
    ) -> None:
        self._plan, self._stop, self._ray = plan, stop, ray
        state = Path(plan.request.state)
        self._reporter = reporter
        keep = plan.matrix.keep_images
        per_host = boards_per_host(len(plan.boards), ray.cpus)
        self._boards = Boards(state, run, ray, deadlines, keep, stop, per_host)
        self._executor = Executor(
            plan,
            Compute(ray, stop),
            self._boards,
            self._reporter,
            stop,
            f"run {run} pid {os.getpid()}",
            deadlines.queue_s,
        )
        self._learning = Learning(plan, max(1, ray.cpus), reporter.emit)
        reporter.follow(self._learning.take)
        self._waits = Waits(ray, self._reporter)
        # A board may be connected and another's step run at any time.
        self._background = Background(max(128, 2 * len(plan.boards) + 32))
        self._core = Scheduler(deadlines, max(1, ray.cpus), CONNECTIONS)
        self._reports = PlanReports(plan, self._core.steps, self._reporter, ended)
        self._upkeep = PlanUpkeep(plan, self._reports, self._reporter, self._handle)
        self._leases = Leases(
            plan,
            self._boards,
            self._reporter,
            FactsFile(state),
            handle=self._handle,
            replan=self._upkeep.note_board,
            bug=self._note_bug,
            stopping=stop.is_set,
            background=self._background,
        )
        self._bug = self._lost_head = False

    def run(self) -> int:
        """Run to the end; returns the exit code (0 complete, 1 incomplete, 4 bug, 130 stopped)."""
        for level, text in self._ray.notes:
            self._reporter.emit(Note(level=level, message=text))
        self._waits.report_ray()
        self._background.submit(self._await_ray)
        threading.Thread(target=self._await_stop, name="stop", daemon=True).start()
        self._upkeep.send_plan()
        while not self._stop.is_set():
            self._upkeep.look()
            self._handle(m.Look(self._ray.settled))
            self._handle(m.ReachBoards())
            self._reports.rows()
            if self._core.finished:
                break
            if self._head_is_dead():
                break
            self._waits.report_ray()
            if self._waits.due():
                self._handle(m.Explain())
            self._learning.report()
            self._leases.save_facts()
            # All of it: a look goes through the whole plan, one for each word would take too long.
            self._background.take(wait_s=self._upkeep.next_look_s)
        return self._finish()

    def _await_ray(self) -> None:
        with contextlib.suppress(FarmError):  # it is raised by what needs Ray
            self._ray.wait(self._stop)
        self._background.post(lambda: None)  # what waits for it starts at once

    def _await_stop(self) -> None:
        self._stop.wait()
        self._background.post(lambda: None)  # Ctrl-C is not to wait for the next look

    def _note_bug(self, error: BaseException) -> None:
        self._bug = True
        traceback.print_exception(error)

    # -- the core's instructions ---------------------------------------------------------------

    def _handle(self, event: m.Event) -> None:
        """Tell the core what happened, and carry out what it wants done."""
        if self._stop.is_set():
            self._core.handle(m.Stop(), time.monotonic())
        for instruction in self._core.handle(event, time.monotonic()):
            self._carry_out(instruction)

    def _carry_out(self, instruction: m.Instruction) -> None:
        match instruction:
            case m.Start():
                self._start(instruction)
            case m.Help(step, board):
                self._help(step, board)
            case m.MoveSteps(moved):
                self._upkeep.move_steps(moved)
            case m.InspectStore():
                self._upkeep.inspect_store()
            case m.ResolvePlan():
                self._upkeep.note_change()
            case m.Connect():
                self._leases.connect(instruction)
            case m.Release(board):
                self._leases.release(board)
            case m.Recover():
                self._leases.recover(instruction)
            case m.GiveUp():
                self._leases.give_up(instruction)
            case m.ReportBoard(board, state, reason):
                self._leases.say(board, state, reason)
            case m.ReportWaiting():
                self._waits.report(instruction)
            case m.Warn(board, message):
                self._reporter.emit(Note(level="warning", board=board, message=message))
            case m.ReportFailure(step, failure, retry):
                self._report_failure(step, failure, retry)
            case m.ReportSkip(step, because):
                self._reporter.emit(
                    StepSkipped(step=step.id, stage=step.stage, board=step.board, because=because)
                )

    def _start(self, instruction: m.Start) -> None:
        step, key = instruction.step, instruction.key
        self._reporter.emit(
            StepStarted(
                step=step.id,
                stage=step.stage,
                board=step.board,
                executed_by=step.executed_by,
                attempt=instruction.attempt,
            )
        )
        if step.board:
            self._leases.say(step.board, "busy")
        began = time.monotonic()

        def work() -> None:
            try:
                outcome = self._executor.run(step, key)
            except BaseException as error:
                progressed = self._executor.advanced(step.id)
                self._background.post(lambda error=error: self._failed(step, error, progressed))  # type: ignore[misc]
            else:
                seconds = time.monotonic() - began
                self._background.post(lambda: self._finished(step, key, outcome, seconds))

        self._background.submit(work)

    def _failed(self, step: Step, error: BaseException, progressed: bool) -> None:
        if not isinstance(error, FarmError) and not self._stop.is_set():
            print(f"--- {step.id}", file=sys.stderr)
            self._note_bug(error)
        self._handle(m.Failed(step, failure_of(error, progressed=progressed)))

    def _finished(self, step: Step, key: str, outcome: Outcome, seconds: float) -> None:
        self._handle(m.Finished(step))
        self._reporter.emit(
            StepFinished(
                step=step.id,
                stage=step.stage,
                board=step.board,
                executed_by=step.executed_by,
                key=key,
                cached=outcome.cached,
                seconds=seconds,
                summary=outcome.summary,
                verdict=outcome.verdict,
                units=outcome.units,
            )
        )
        if step.board:
            runtime = step.extra["runtime"] if step.facts.executes else None
            worked = None if outcome.cached else runtime
            self._leases.step_done(step.board, worked, self._executor.heat.get(step.board))
        self._upkeep.note_ended(step.id)

    def _help(self, step: Step, board: str) -> None:
        self._leases.say(board, "busy", f"helps with {step.id}")

        def work() -> None:
            try:
                self._executor.help(step, board)
            except BaseException as error:
                self._background.post(lambda error=error: self._help_ended(step, board, error))  # type: ignore[misc]
            else:
                self._background.post(lambda: self._help_ended(step, board, None))

        self._background.submit(work)

    def _help_ended(self, step: Step, board: str, error: BaseException | None) -> None:
        if error is None:
            self._handle(m.HelpEnded(step, board))
            self._leases.step_done(board, step.extra["runtime"], self._executor.heat.get(board))
            return
        if not isinstance(error, FarmError) and not self._stop.is_set():
            self._note_bug(error)
        failure = failure_of(error, f"{board}: while helping with {step.id}")
        self._handle(m.HelpEnded(step, board, failure))

    def _report_failure(self, step: Step, failure: m.Failure, retry: bool) -> None:
        self._reporter.emit(
            StepFailed(
                step=step.id,
                stage=step.stage,
                board=step.board,
                executed_by=step.executed_by,
                error=error_class(failure.error),
                message=failure.error.message,
                hint=failure.error.hint,
                retry=retry,
            )
        )

    def _head_is_dead(self) -> bool:
        """Give up what is left once Ray's head has died: nothing more can be computed by it."""
        error = self._ray.ended()
        if error is None or self._stop.is_set():
            return False
        self._lost_head = True
        self._handle(m.HeadLost(error))
        self._reports.rows()
        return True

    # -- the end -------------------------------------------------------------------------------

    def _finish(self) -> int:
        failed = next(self._core.steps.in_state(*UNSUCCESSFUL), None) is not None
        if self._stop.is_set():
            code, outcome = 130, "interrupted"
        elif self._bug:
            code, outcome = 4, "bug"
        elif failed or len(self._plan.possible) < len(self._plan.cells):
            code, outcome = 1, "incomplete"
        else:
            code, outcome = 0, "complete"
        message = "Ray's head ended; `farm resume` goes on" if self._lost_head else ""
        self._reporter.emit(RunFinished(exit_code=code, outcome=outcome, message=message))
        return code

    def clean_up(self) -> None:
        """Release boards, stop Ray and helpers."""
        self._learning.learn()
        with contextlib.suppress(OSError):  # a full disk keeps neither boards nor Ray
            self._leases.save_facts(at_once=True)
        self._executor.close()
        held = self._core.boards.all_connected
        for name in held:
            self._leases.note_work(name)
        if not self._lost_head:
            for name in held:
                self._boards.cancel(name)
        self._boards.release(reachable=not self._lost_head)
        if not self._lost_head:
            self._ray.stop()
        self._reporter.close()
