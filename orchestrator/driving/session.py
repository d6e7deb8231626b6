"""A run in the driver's process: planned, begun in its folder, and carried out to its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.cluster.nodes import reach
from orchestrator.driving.captured import captured
from orchestrator.driving.start_messages import Answers, Begun, Job
from orchestrator.errors import TransientError, UserError
from orchestrator.events import (
    CellFinished,
    Event,
    EventLog,
    EventReader,
    Note,
    RunFinished,
    RunStarted,
)
from orchestrator.execution.results_builder import cell_result, held
from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.request import Request
from orchestrator.results import Verdict
from orchestrator.scheduling.reporter import Reporter
from orchestrator.store.collecting import using
from orchestrator.store.going import going, is_ending, mark_ending
from orchestrator.store.places import check_place, check_writable
from orchestrator.store.run_folder import EVENTS, LATEST, LOG, REQUEST, make_folder, point_latest_to
from orchestrator.version import __version__

if TYPE_CHECKING:
    from orchestrator.cluster.ray_cluster import RayCluster
    from orchestrator.scheduling.driver import Driver

CLEAN_UP_S = 6.0
Outcome = Literal["wrong input", "interrupted", "incomplete", "bug"]


class Session:
    """A run from its job to its end. The only writer of its event log; call in the order below.

    Args:
        job: what is to be done.
        stop: set when the run is to end early.
        answers: the way to the console, until the run has begun.
    """

    def __init__(self, job: Job, stop: threading.Event, answers: Answers) -> None:
        self._job, self._stop, self._answers = job, stop, answers
        self._holds = contextlib.ExitStack()
        self._lock = -1
        self._plan: Plan | None = None
        self._reporter: Reporter | None = None
        self._rows: list[CellFinished] = []
        self._unfinished = ""

    def plan(self) -> None:
        """Plan the job; leaves nothing behind.

        Raises:
            UserError: it cannot be planned, no Ray cluster is where it names one, a folder cannot
                be written, or the run that is to go on is going on.
        """
        job, request = self._job, self._job.request
        check_place(Path(request.state), "--state")
        check_place(Path(request.runs), "--runs")
        if job.resuming:
            self._hold()
        else:
            self._await_ending(Path(request.runs) / LATEST)
        plan = make_plan(request, by=f"run {job.folder.name}")
        if job.remeasure:
            _forget_suspect_times(plan)
        self._unfinished = "" if job.resuming else _unfinished(request)
        if plan.resolution.todo:
            check_writable(Path(request.state), "--state")
            if request.ray_address:
                reach(request.ray_address)
            elif named := os.environ.get("RAY_ADDRESS"):
                self._answers.say(
                    f"RAY_ADDRESS is set but not used: --ray-address {named} joins it"
                )
        self._rows = list(_rows_held(plan))
        self._plan = plan

    def begin(self, held: Callable[[int], None]) -> None:
        """Begin the run in its folder: its plan and the rows that the store holds are in its log.

        Args:
            held: called with the lock that holds the run, before anything is in its log.

        Raises:
            UserError: the folder cannot be made.
        """
        job, plan = self._job, self._planned
        folder, todo = job.folder, bool(plan.resolution.todo)
        if job.resuming:
            point_latest_to(folder)
        else:
            make_folder(folder, job.request.to_json())
            self._hold()
        held(self._lock)
        if todo:
            with open(folder / LOG, "ab") as log:
                log.write(captured())
                log.flush()
                for number in (1, 2):  # from here on, whatever is printed goes there
                    os.dup2(log.fileno(), number)
        events = folder / EVENTS
        offset = events.stat().st_size if events.exists() else 0
        if not (job.resuming and not todo and _is_complete(events, plan)):
            self._reporter = Reporter(EventLog(events))
            self._reporter.emit(_started(plan, folder))
            for row in self._rows:
                self._reporter.emit(row)
            if not todo:
                self._end_from_store(self._reporter)
        if self._unfinished:
            self._answers.say(
                f"run {self._unfinished} of the same plan has not finished: what it has is used; "
                f"`farm resume {self._unfinished}` continues it instead"
            )
        self._answers.send(Begun(offset, todo))

    def carry_out(self) -> int:
        """Run what is to do; the exit code."""
        if not self._planned.resolution.todo:
            return 1 if _impossible(self._planned) else 0
        driver: Driver | None = None
        cluster: RayCluster | None = None
        try:
            cluster = self._cluster()
            driver = self._driver(cluster)
            with using(self._planned.store.root):
                code = driver.run()
        except BaseException as error:
            traceback.print_exc()
            code = self._failed(error, begun=driver is not None)
        mark_ending(self._job.folder)
        # Ray and hung libraries get this long; then the kernel ends what is left with this process.
        deadline = threading.Timer(CLEAN_UP_S, os._exit, (code,))
        deadline.daemon = True
        deadline.start()
        if driver is not None:
            driver.clean_up()
        elif cluster is not None:
            cluster.stop()
        return code

    @property
    def _planned(self) -> Plan:
        assert self._plan is not None
        return self._plan

    def _hold(self) -> None:
        folder = self._job.folder
        self._lock = self._holds.enter_context(going(folder, self._waits_for(folder)))

    def _await_ending(self, newest: Path) -> None:
        """Wait for a run that is about to end: it still holds its boards."""
        if is_ending(newest):
            with contextlib.suppress(UserError), going(newest, self._waits_for(newest)):
                pass

    def _waits_for(self, folder: Path) -> Callable[[], None]:
        words = f"run {folder.resolve().name} is still ending: waiting for it …"
        return lambda: self._answers.say(words)

    def _end_from_store(self, reporter: Reporter) -> None:
        """All is held: no board, no Ray, only the rows."""
        impossible = _impossible(self._planned)
        code, outcome = (1, "incomplete") if impossible else (0, "complete")
        reporter.emit(RunFinished(exit_code=code, outcome=outcome, cached=not impossible))
        reporter.close()

    def _cluster(self) -> RayCluster:
        """The Ray that the run was asked to use: one of its own comes up while other work begins.

        Raises:
            UserError, RayDown: a cluster that is to be joined cannot be or does not fit, or the
                run is being stopped.
        """
        # Late, as all that what the store holds does not need.
        from orchestrator.cluster.ray_cluster import RayCluster

        request = self._job.request
        boards = self._planned.boards_in_use()
        cluster = RayCluster.named(request.ray_address, Path(request.state), boards)
        cluster.start()
        if cluster.shared:
            cluster.wait(self._stop)
        return cluster

    def _driver(self, cluster: RayCluster) -> Driver:
        from orchestrator.fleet.boards.deadlines import Deadlines
        from orchestrator.scheduling.driver import Driver

        assert self._reporter is not None
        plan, stop = self._planned, self._stop
        deadlines = Deadlines.from_environment()
        ended = [row.cell for row in self._rows]
        return Driver(plan, self._job.folder.name, self._reporter, stop, deadlines, cluster, ended)

    def _failed(self, error: BaseException, *, begun: bool) -> int:
        """Say how a run ended that its driver could not end; the exit code."""
        outcome: Outcome = "bug"
        code = 4
        if not begun and self._stop.is_set():
            outcome, code = "interrupted", 130
        elif not begun and isinstance(error, UserError):
            outcome, code = "wrong input", 2
        elif not begun and isinstance(error, TransientError):
            outcome, code = "incomplete", 1
        message = f"{type(error).__name__}: {error}"
        assert self._reporter is not None
        with contextlib.suppress(OSError):  # the disk that the log is on may be the reason
            if outcome in ("wrong input", "incomplete"):
                self._reporter.emit(Note(level="error", message=str(error)))
            self._reporter.emit(RunFinished(exit_code=code, outcome=outcome, message=message))
        return code


def _impossible(plan: Plan) -> bool:
    return len(plan.possible) < len(plan.cells)


def _is_complete(events: Path, plan: Plan) -> bool:
    """Whether a run has ended complete with just the rows that the plan has now."""
    session: list[Event] = []
    for event in EventReader(events).new():
        if isinstance(event, RunStarted):
            session.clear()
        session.append(event)
    last = session[-1] if session else None
    rows = {event.cell for event in session if isinstance(event, CellFinished)}
    return (
        isinstance(last, RunFinished)
        and last.outcome == "complete"
        and rows == {cell.name for cell in plan.cells}
    )


def _forget_suspect_times(plan: Plan) -> None:
    for target in plan.graph.targets.values():
        measured = held(plan, target.measure) if target.measure else None
        if measured is not None and measured.manifest["facts"]["verdict"] == Verdict.SUSPECT:
            plan.store.discard(measured)
    plan.forget()
    plan.resolve()


def _unfinished(request: Request) -> str:
    """Name of the newest run when it was of this request and did not end by itself."""
    newest = Path(request.runs) / LATEST
    try:
        before = Request.from_json(json.loads((newest / REQUEST).read_text()))
        same = replace(before, ray_address=request.ray_address) == request
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    last = None
    for event in EventReader(newest / EVENTS).new():
        last = event
    ended = isinstance(last, RunFinished) and last.outcome != "interrupted"
    return newest.resolve().name if same and not ended else ""


def _rows_held(plan: Plan) -> Iterator[CellFinished]:
    """Rows of which the store has every figure: all of them, where nothing is to be done."""
    for cell in plan.possible:
        result = cell_result(plan, cell)
        if result is not None:
            yield CellFinished(
                cell=cell.name,
                executed_by=cell.probe.executed_by,
                result=result.model_dump(mode="json"),
            )
        elif not plan.resolution.todo:
            raise RuntimeError(f"the store said that it holds the row {cell.name}")


def _started(plan: Plan, folder: Path) -> RunStarted:
    return RunStarted(
        run=folder.name,
        farm=__version__,
        matrix=plan.request.called or plan.request.matrix,
        inventory=plan.request.inventory,
        matrix_sha256=plan.matrix_sha256(),
        limit=plan.request.limit,
        only=plan.request.only,
        columns=plan.matrix.table.columns,
        cells=plan.cell_infos(),
        steps=plan.step_infos(),
        boards=tuple(dict.fromkeys(cell.board for cell in plan.possible)),
    )
