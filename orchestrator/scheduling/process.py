"""The driver's process: from a run's folder to its exit code.

A process of its own (`python -m orchestrator.scheduling.process RUN_FOLDER`), so that every
byte that Ray or a library prints goes to the run's log file and never onto somebody's screen. It
stops in good order on SIGTERM, and when its standard input ends: then whoever started it is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Literal, NoReturn

from orchestrator.cluster.interfaces import Head
from orchestrator.cluster.joined import JoinedRay
from orchestrator.cluster.own import LocalRay
from orchestrator.errors import TransientError, UserError
from orchestrator.events import EventLog, Note, RunFinished
from orchestrator.fleet.boards.board import Deadlines
from orchestrator.preflight.planner import Plan, Request, make_plan
from orchestrator.scheduling.driver import EVENTS, Driver
from orchestrator.scheduling.supervisor import adopt_orphans, supervise
from orchestrator.store.collecting import using

CLEAN_UP_S = 6.0
REQUEST = "request.json"
Outcome = Literal["wrong input", "interrupted", "incomplete", "bug"]


def main(folder: str) -> int:
    """Run the plan of a run folder; see the module's text.

    Ray ends the process that uses it when its raylet dies, so the driver is a child of this
    process, which then says in its place how the run ended.
    """
    adopt_orphans()
    child = os.fork()
    if child == 0:
        _drive(folder)
    return supervise(child, Path(folder) / EVENTS)


def _drive(folder: str) -> NoReturn:
    stop = threading.Event()
    run = Path(folder)
    _watch_parent(stop)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    driver: Driver | None = None
    try:
        deadlines = Deadlines.from_environment()
        request = Request.from_json(json.loads((run / REQUEST).read_text()))
        plan = make_plan(request, by=f"run {run.name}")
        driver = Driver(plan, run, stop, deadlines, _ray_for(plan, stop))
        with using(plan.store.root):
            code = driver.run()
    except BaseException as error:
        traceback.print_exc()
        outcome: Outcome = "bug"
        code = 4
        if driver is None and stop.is_set():
            outcome, code = "interrupted", 130
        elif driver is None and isinstance(error, UserError):
            outcome, code = "wrong input", 2
        elif driver is None and isinstance(error, TransientError):
            outcome, code = "incomplete", 1
        with contextlib.suppress(OSError):  # the disk that the log is on may be the reason
            log = EventLog(run / EVENTS)
            if outcome in ("wrong input", "incomplete"):
                log.append(Note(level="error", message=str(error)))
            log.append(RunFinished(exit_code=code, outcome=outcome, message=_last_line()))
    # Ray and hung libraries get this long; then the kernel ends what is left with this process.
    deadline = threading.Timer(CLEAN_UP_S, os._exit, (code,))
    deadline.daemon = True
    deadline.start()
    if driver is not None:
        driver.clean_up()
    sys.stderr.flush()
    os._exit(code)


def _ray_for(plan: Plan, stop: threading.Event) -> Head:
    """The Ray that a run was asked to use; one of its own is not started yet.

    Raises:
        UserError, RayDown: a cluster that is to be joined cannot be or does not fit, or the run
            is being stopped.
    """
    if not plan.request.ray_address:
        return LocalRay(Path(plan.request.state), os.cpu_count() or 1)
    joined = JoinedRay(plan.request.ray_address)
    joined.join_unless(stop, plan.boards_in_use())
    return joined


def _last_line() -> str:
    kind, error, _ = sys.exc_info()
    return f"{kind.__name__ if kind else 'error'}: {error}"


def _watch_parent(stop: threading.Event) -> None:
    def watch() -> None:
        while os.read(0, 1024):
            pass
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
