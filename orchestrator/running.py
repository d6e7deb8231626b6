"""A run from its request to its end: plan, driver process, its events shown as they come.

Nothing is printed here but through the view: the command line and the Python API share this.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from orchestrator import __version__
from orchestrator.cluster.nodes import reach
from orchestrator.errors import UserError
from orchestrator.events import CellFinished, EventLog, EventReader, RunFinished, RunStarted
from orchestrator.execution.results_builder import cell_result, held
from orchestrator.preflight.planner import Plan, Request, make_plan
from orchestrator.reporting.analysis.history import EVENTS, LATEST, REQUEST, find_run
from orchestrator.reporting.live.console import View
from orchestrator.reporting.live.ending import LOG
from orchestrator.reporting.live.state import RunState
from orchestrator.store.going import going
from orchestrator.store.places import check_place, check_writable

POLL_S = 0.1
PROMPT_BACK_S = 2.3


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        folder: where it is kept.
        exit_code: as the command line gives it.
        cached: whether the run is complete and the store held everything: nothing was run.
        signal: what stopped it, None when nothing did.
    """

    folder: Path
    exit_code: int
    cached: bool
    signal: signal.Signals | None


def folder_of(runs: str, name: str) -> Path:
    """The folder of an earlier run, which may have ended before its first event.

    Args:
        name: its name, the beginning of one, `latest`, or a path to its folder.

    Raises:
        UserError: there is no such run.
    """
    exact = Path(runs) / name
    if (exact / REQUEST).is_file():
        return exact.with_name(exact.resolve().name) if exact.is_symlink() else exact
    return find_run(Path(runs), name)


def request_of(runs: str, name: str) -> Request:
    """What an earlier run was asked for.

    Raises:
        UserError: there is no such run, or what it was asked for cannot be read any more.
    """
    file = folder_of(runs, name) / REQUEST
    try:
        return Request.from_json(json.loads(file.read_text()))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{file} is damaged: {error}",
            "`farm run` starts a new run; what that run has finished is used",
        ) from error
    except OSError as error:
        raise UserError(
            f"{file} cannot be read: {error.strerror}",
            "`farm run` starts a new run; what that run has finished is used",
        ) from None


def carry_out(
    request: Request, view: View, *, remeasure: bool = False, resuming: Path | None = None
) -> Ended:
    """Make a new run of a request, or go on with one, and stay with it to its end.

    Ctrl-C and SIGTERM end the run in good order when this is the main thread.

    Args:
        view: shows the run; already entered.
        remeasure: measure again the latencies whose verdict is SUSPECT.
        resuming: the folder of the run that goes on, under its own name; None for a new run.

    Raises:
        UserError: the request cannot be planned, no Ray cluster is where it names one, a folder
            cannot be written, or the run that is to go on is going on; nothing was started.
    """
    check_place(Path(request.state), "--state")
    check_place(Path(request.runs), "--runs")
    plan = make_plan(request)
    if remeasure:
        _forget_suspect_times(plan)
    unfinished = "" if resuming else _unfinished(request)
    todo = bool(plan.resolution.todo)
    if todo:
        check_writable(Path(request.state), "--state")
    if todo and request.ray_address:
        reach(request.ray_address)
    elif todo and (named := os.environ.get("RAY_ADDRESS")):
        view.say(f"RAY_ADDRESS is set but not used: --ray-address {named} joins it", "dim")
    folder = resuming or _new_folder(Path(request.runs), request)
    with _Signals() as signals, going(folder) as lock:
        reader = EventReader(folder / EVENTS)
        if resuming is not None:
            _point_latest_to(folder)
            for event in reader.new():
                view.recall(event)
            if not todo and _is_complete(view.state, plan):
                return Ended(folder, 0, cached=True, signal=None)
        if unfinished:
            view.say(
                f"run {unfinished} of the same plan has not finished: what it has is used; "
                f"`farm resume {unfinished}` continues it instead",
                "dim",
            )
        code = (
            _with_driver(plan, folder, view, signals, reader, lock)
            if todo
            else _from_store(plan, folder, view, reader)
        )
    return Ended(folder, code, cached=not todo and code == 0, signal=signals.received)


def _is_complete(state: RunState, plan: Plan) -> bool:
    """Whether a run has ended complete with just the rows that the plan has now."""
    complete = state.finished is not None and state.finished.outcome == "complete"
    return complete and {cell.name for cell in plan.cells} == state.results.keys()


def _forget_suspect_times(plan: Plan) -> None:
    for target in plan.graph.targets.values():
        measured = held(plan, target.measure) if target.measure else None
        if measured is not None and measured.manifest["facts"]["verdict"] == "SUSPECT":
            plan.store.discard(measured)
    plan.forget()
    plan.resolve()


def _unfinished(request: Request) -> str:
    """Name of the newest run when it was of this request and did not end by itself."""
    newest = Path(request.runs) / "latest"
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


def _from_store(plan: Plan, folder: Path, view: View, reader: EventReader) -> int:
    """All is held: no board, no Ray, only the rows."""
    impossible = len(plan.possible) < len(plan.cells)
    log = EventLog(folder / EVENTS)
    log.append(_started(plan, folder))
    rows = list(_rows_held(plan))
    if len(rows) < len(plan.possible):
        names = {cell.name for cell in plan.possible} - {row.cell for row in rows}
        raise RuntimeError(f"the store said that it holds these rows: {', '.join(sorted(names))}")
    for row in rows:
        log.append(row)
    code = 1 if impossible else 0
    outcome = "incomplete" if impossible else "complete"
    log.append(RunFinished(exit_code=code, outcome=outcome, cached=not impossible))
    log.close()
    for event in reader.new():
        view.show(event)
    return code


def _rows_held(plan: Plan) -> Iterator[CellFinished]:
    """Rows of which the store has every figure."""
    for cell in plan.possible:
        result = cell_result(plan, cell)
        if result is not None:
            yield CellFinished(
                cell=cell.name,
                executed_by=cell.probe.executed_by,
                result=result.model_dump(mode="json"),
            )


def _with_driver(
    plan: Plan, folder: Path, view: View, signals: _Signals, reader: EventReader, lock: int
) -> int:
    log = EventLog(folder / EVENTS)
    log.append(_started(plan, folder))
    if view.state.started is not None:
        # A resumed run that is stopped before its driver has begun has lost none of its rows.
        for row in _rows_held(plan):
            log.append(row)
    log.close()
    with _driver(folder, lock) as driver:
        stopping: float | None = None
        while True:
            ended = driver.poll()
            for event in reader.new():
                view.show(event)
            finished = view.state.finished
            if finished is not None:
                return signals.exit_code or finished.exit_code
            if signals.received and stopping is None:
                stopping = time.monotonic()
                driver.terminate()
                view.say("stopping: what is finished is kept …", "yellow")
            if stopping is not None and time.monotonic() - stopping > PROMPT_BACK_S:
                return signals.exit_code
            if ended is not None:
                view.say(f"the driver process ended ({_how(ended)}); see {folder / LOG}", "red")
                return signals.exit_code or 4
            time.sleep(POLL_S)


@contextlib.contextmanager
def _driver(folder: Path, lock: int) -> Iterator[subprocess.Popen[bytes]]:
    """The driver process, whose standard input ends when this process does.

    It holds the run's lock too: when this process is killed, the run goes on for a moment.
    """
    command = [sys.executable, "-m", "orchestrator.scheduling.process", str(folder)]
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
    with open(folder / LOG, "ab") as log:
        driver = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C in the terminal is the console's to hand on
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            pass_fds=(lock,),
        )
    try:
        yield driver
    finally:
        if driver.stdin is not None:
            driver.stdin.close()


class _Signals:
    """Notes Ctrl-C and SIGTERM instead of dying of them; other threads than the main one cannot."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        """130 or 143 once a signal has come, else 0."""
        return 128 + self.received if self.received else 0

    def __enter__(self) -> _Signals:
        main = threading.current_thread() is threading.main_thread()
        taken = (signal.SIGINT, signal.SIGTERM) if main else ()
        self._old = [(s, signal.signal(s, self._note)) for s in taken]
        return self

    def __exit__(self, *_: object) -> None:
        for number, old in self._old:
            signal.signal(number, old)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)


def _started(plan: Plan, folder: Path) -> RunStarted:
    return RunStarted(
        run=folder.name,
        farm=__version__,
        matrix=plan.request.matrix,
        inventory=plan.request.inventory,
        matrix_sha256=plan.matrix_sha256(),
        limit=plan.request.limit,
        only=plan.request.only,
        columns=plan.matrix.table.columns,
        cells=plan.cell_infos(),
        steps=plan.step_infos(),
        boards=tuple(dict.fromkeys(cell.board for cell in plan.possible)),
    )


def _new_folder(runs: Path, request: Request) -> Path:
    """A run's folder, which becomes the latest only when it says what is asked for.

    Raises:
        UserError: it cannot be made.
    """
    folder = runs / (time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(2))
    try:
        runs.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(mode=0o700)
        with open(folder / REQUEST, "w") as file:
            json.dump(request.to_json(), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        _point_latest_to(folder)
    except OSError as error:
        raise UserError(
            f"cannot make a folder for this run in {runs}: {error.strerror}",
            "make room there, or let `--runs` name another folder",
        ) from error
    return folder


def _point_latest_to(folder: Path) -> None:
    link = folder.parent / f".latest.{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(folder.parent / LATEST)


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
