"""The driver: runs a plan to its end. The only writer of the run's event log and of the store."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orchestrator.errors import FarmError, UserError
from orchestrator.events import (
    CellFailed,
    CellFinished,
    EventLog,
    Note,
    PlanChanged,
    RunFinished,
    StepFinished,
    StepStarted,
)
from orchestrator.fleet.board import Deadlines
from orchestrator.planning.graph import Step
from orchestrator.scheduling.boards import Boards
from orchestrator.scheduling.choosing import HEAD_DOMAIN, Candidate, choose
from orchestrator.scheduling.compute import Compute
from orchestrator.scheduling.execute import Executor, Outcome
from orchestrator.scheduling.failing import Failing
from orchestrator.scheduling.hosts import boards_per_host
from orchestrator.scheduling.inventory_watch import InventoryWatch
from orchestrator.scheduling.leasing import Leases
from orchestrator.scheduling.outcome import cell_result
from orchestrator.scheduling.parties import Head
from orchestrator.scheduling.planner import Plan
from orchestrator.scheduling.pooling import State
from orchestrator.scheduling.remembered import FactsFile, RatesFile
from orchestrator.scheduling.replanning import take_inventory
from orchestrator.scheduling.reporter import Reporter
from orchestrator.scheduling.roster import Roster

EVENTS = "events.jsonl"


class Driver(Failing):
    """The state of a run. Everything but steps and connections happens in one thread."""

    def __init__(
        self, plan: Plan, folder: Path, stop: threading.Event, deadlines: Deadlines, ray: Head
    ) -> None:
        super().__init__()
        self._plan, self._stop = plan, stop
        state = Path(plan.request.state)
        self._reporter = Reporter(EventLog(folder / EVENTS))
        self._ray = ray
        keep = plan.matrix.keep_images
        per_host = boards_per_host(len(plan.boards), ray.cpus)
        self._boards = Boards(state, folder.name, ray, deadlines, keep, stop, per_host)
        owner = f"run {folder.name} pid {os.getpid()}"
        self._executor = Executor(
            plan,
            Compute(self._ray, stop),
            self._boards,
            self._reporter,
            stop,
            owner,
            deadlines.queue_s,
        )
        self._rates = RatesFile(state)
        self._inventory = InventoryWatch(Path(plan.request.inventory))
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        # A board may be met and another's step run at any time; threads are made at need.
        most = max(128, 2 * len(plan.boards) + 32)
        self._threads = ThreadPoolExecutor(max_workers=most, thread_name_prefix="step")
        self._slots = max(1, ray.cpus)
        self._state: dict[str, State] = dict.fromkeys(plan.graph.steps, "waiting")
        self._attempts: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._has_news = False  # the store received something since keys were worked out
        self._replan: set[str] = set()
        self._told = {info.id: info for info in plan.step_infos()}
        self._roster = Roster(deadlines)
        self._leases = Leases(
            plan,
            self._boards,
            self._roster,
            self._reporter,
            FactsFile(state),
            settle=self._settle,
            replan=self._replan.add,
            post=self._inbox.put,
            bug=self._note_bug,
            stopping=stop.is_set,
            threads=self._threads,
        )
        self._reported: set[str] = set()
        self._lost_head = False

    def run(self) -> int:
        """Run to the end; returns the exit code (0 complete, 1 incomplete, 4 bug, 130 stopped)."""
        self._ray.start()
        for level, text in self._ray.notes:
            self._reporter.emit(Note(level=level, message=text))
        self._settle()
        while not self._stop.is_set():
            self._plan.book.read(self._plan.boards)
            self._look_at_inventory()
            self._plan_again()
            self._rebind()
            self._start_ready()
            self._leases.reach(self._wanted())
            self._report_cells()
            if not self._unfinished():
                break
            if self._head_is_dead():
                break
            self._take_news()
        return self._finish()

    def _take_news(self) -> None:
        """Wait for what threads have to say, and take in all of it before the next look around.

        A look goes through the whole plan, so a look for each word would grow with its square.
        """
        with contextlib.suppress(queue.Empty):
            self._inbox.get(timeout=0.5)()
            while True:
                self._inbox.get_nowait()()

    def _plan_again(self) -> None:
        """Keys again, and the plan where boards turned out not to be as it believed.

        Once for all that has come since the last look.
        """
        boards = set(self._replan)
        self._replan.clear()
        rows = self._plan.cell_infos() if boards else ()
        if boards:
            self._plan.settle()
        elif self._has_news:
            self._plan.resolve()
        if boards or self._has_news:
            self._has_news = False
            self._settle()
        if boards:
            changed = rows != self._plan.cell_infos()  # who executes them is another than believed
            self._tell_plan(board=boards.pop() if len(boards) == 1 else "", cells=changed)

    def _tell_plan(self, board: str = "", *, cells: bool = False) -> None:
        """Report what of the plan is not as it was last told."""
        now = {info.id: info for info in self._plan.step_infos()}
        steps = tuple(info for info in now.values() if self._told.get(info.id) != info)
        gone = tuple(self._told.keys() - now.keys())
        self._told = now
        rows = self._plan.cell_infos() if cells else ()
        if steps or gone or rows:
            change = PlanChanged(board=board, steps=steps, cells=rows, partial=True, gone=gone)
            self._reporter.emit(change)

    # -- steps ---------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Take over what the store holds; what is not needed any more counts as done."""
        needed = set(self._plan.resolution.todo)
        for step_id in self._plan.graph.steps:
            state = self._state.get(step_id, "waiting")
            if state == "waiting" or (state == "done" and step_id not in self._made):
                self._state[step_id] = "waiting" if step_id in needed else "done"

    def _look_at_inventory(self) -> None:
        """Boards that were added join the run, those that were taken out are drained."""
        seen = self._inventory.changed()
        if seen is None:
            return
        try:
            if seen.inventory is None:
                raise UserError(seen.problem)
            changes = take_inventory(self._plan, seen.inventory)
        except UserError as error:
            text = f"the inventory changed and is not used as it is now: {error.message}"
            self._reporter.emit(Note(level="warning", message=text))
            return
        self._settle()
        if changes.joined:
            self._tell_plan(cells=True)
        for names, words in (
            (changes.joined, "joined the run"),
            (changes.left, "was taken out of the inventory: it ends what it does, no more"),
            (changes.ignored, "has another entry now, which counts from the next run on"),
        ):
            for name in names:
                self._reporter.emit(Note(level="info", board=name, message=f"{name} {words}"))

    def _note_bug(self, _: BaseException) -> None:
        self._bug = True

    def _unfinished(self) -> bool:
        return any(self._state[s] in ("waiting", "running") for s in self._plan.graph.steps)

    def _candidate(self, step: Step) -> Candidate:
        domain = self._plan.boards[step.board].contention_domain if step.board else HEAD_DOMAIN
        return Candidate(
            step.id,
            step.stage,
            step.board,
            domain,
            step.units,
            step.priority,
            self._plan.leads.get(step.id, 0.0),
            self._plan.ranks.get(step.id, 0.0),
        )

    def _start_ready(self) -> None:
        graph = self._plan.graph
        ready: list[Candidate] = []
        for step in graph.steps.values():
            if self._state[step.id] != "waiting":
                continue
            failed = [s for s in graph.sources(step.id) if self._state[s] in ("failed", "skipped")]
            if failed:
                self._skip(step, failed[0])
            elif step.board and (error := self._out_of_use(step)) is not None:
                self._fail(step, error, retry=False)
            elif (
                all(self._state[source] == "done" for source in graph.sources(step.id))
                and (not step.board or self._roster.connected(step.board))
                and self._not_before.get(step.id, 0.0) <= time.monotonic()
                and step.id in self._plan.resolution.keys
                and not self._is_being_made(step)
            ):
                ready.append(self._candidate(step))
        running = [
            self._candidate(graph.steps[s])
            for s, state in self._state.items()
            if state == "running" and s in graph.steps
        ]
        for board, step in self._helping.items():
            domain = self._plan.boards[board].contention_domain
            running.append(Candidate(f"{step.id}@{board}", "extract", board, domain))
        helpers = self._helpers(ready)
        ready += [candidate for _, candidate in helpers.values()]
        for chosen in choose(ready, running, self._slots):
            if chosen.id in helpers:
                self._help(helpers[chosen.id][0], chosen.board)
            elif not self._is_being_made(graph.steps[chosen.id]):
                self._start(graph.steps[chosen.id])

    def _out_of_use(self, step: Step) -> FarmError | None:
        """Why a step's board will not do it."""
        return self._roster.error(step.board) or self._plan.refusal(step)

    def _start(self, step: Step) -> None:
        self._state[step.id] = "running"
        self._has_helped = {each for each in self._has_helped if each[0] != step.id}
        attempt = self._attempts[step.id] = self._attempts.get(step.id, 0) + 1
        key = self._under_way[step.id] = self._plan.resolution.keys[step.id]
        self._reporter.emit(
            StepStarted(
                step=step.id,
                stage=step.stage,
                board=step.board,
                executed_by=step.executed_by,
                attempt=attempt,
            )
        )
        if step.board:
            self._leases.say(step.board, "busy")
        began = time.monotonic()

        def work() -> None:
            try:
                outcome = self._executor.run(step, key)
            except BaseException as error:
                self._inbox.put(lambda error=error: self._failed(step, error))  # type: ignore[misc]
            else:
                seconds = time.monotonic() - began
                self._inbox.put(lambda: self._finished(step, key, outcome, seconds))

        self._threads.submit(work)

    def _finished(self, step: Step, key: str, outcome: Outcome, seconds: float) -> None:
        self._state[step.id] = "done"
        self._under_way.pop(step.id, None)
        self._made.add(step.id)
        self._in_vain.pop(step.id, None)
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
            )
        )
        if step.board:
            runtime = step.extra["runtime"] if step.stage in ("measure", "extract") else None
            worked = None if outcome.cached else runtime
            self._leases.step_done(step.board, worked, self._executor.heat.get(step.board))
        if not outcome.cached:
            self._rates.add(step, seconds, outcome.units)
        self._has_news = True

    def _head_is_dead(self) -> bool:
        """Give up what is left once Ray's head has died: nothing more can be computed by it."""
        error = self._ray.ended()
        if error is None or self._stop.is_set():
            return False
        self._lost_head = True
        for step in self._plan.graph.steps.values():
            if self._state[step.id] in ("waiting", "running"):
                self._fail(step, error, retry=False)
        self._report_cells()
        return True

    # -- the end -------------------------------------------------------------------------------

    def _report_cells(self) -> None:
        for cell in self._plan.possible:
            if cell.name in self._reported:
                continue
            target = self._plan.graph.targets[cell.name]
            states = {self._state[step] for step in target.figures}
            if states == {"done"}:
                result = cell_result(self._plan, cell)
                if result is not None:
                    self._reported.add(cell.name)
                    self._reporter.emit(
                        CellFinished(
                            cell=cell.name,
                            executed_by=cell.probe.executed_by,
                            result=result.model_dump(mode="json"),
                        )
                    )
            elif not states & {"waiting", "running"}:
                self._reported.add(cell.name)
                reasons = [
                    self._errors[step.id]
                    for step in self._plan.graph.steps.values()
                    if cell.name in step.cells and step.id in self._errors
                ]
                self._reporter.emit(
                    CellFailed(
                        cell=cell.name,
                        executed_by=cell.probe.executed_by,
                        reason="; ".join(dict.fromkeys(reasons)),
                    )
                )

    def _finish(self) -> int:
        states = {self._state[step_id] for step_id in self._plan.graph.steps}
        failed = bool(states & {"failed", "skipped"})
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
        self._executor.close()
        for name in self._roster.all_connected:
            self._leases.note_work(name)
        if not self._lost_head:
            for name in self._roster.all_connected:
                self._boards.cancel(name)
        self._boards.release(reachable=not self._lost_head)
        if not self._lost_head:
            self._ray.stop()
        self._reporter.close()
