"""The driver's process: plans a request and runs it. It alone writes event log and store.

`python -m orchestrator.driving.process RUN_FOLDER` takes its job from standard input and
answers on standard output, both as `start_messages` says. It stops cleanly on SIGTERM, and
when its standard input ends: then whoever started it is gone.

Ray ends the process that uses it when its raylet dies, so the driver is a child of this process,
which then says in its place how the run ended. The child is forked before anything heavy is
imported, and before either has a thread.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import NoReturn

from orchestrator.driving.captured import capture, captured
from orchestrator.driving.start_messages import Answers, Crashed, Job, Refused
from orchestrator.driving.supervisor import STOPS, Supervisor
from orchestrator.errors import FarmError
from orchestrator.store.going import mark_ending
from orchestrator.store.places import explained

INTERRUPTED = 130


class Stop:
    """Whether the run is to stop.

    While the driver plans, a signal interrupts it: there is nothing to put away. Later it sets
    `event`, and the driver ends cleanly.
    """

    def __init__(self, job: Job) -> None:
        self.event = threading.Event()
        self._job = job
        self._interrupts = True

    def listen(self) -> None:
        """Take signals, and the end of standard input, from here on."""
        for number in STOPS:
            signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        threading.Thread(target=self._watch_parent, name="parent", daemon=True).start()

    def planned(self) -> None:
        """From here on a signal interrupts nothing.

        Raises:
            KeyboardInterrupt: one has come already.
        """
        self.interrupt_no_more()
        if self.event.is_set():
            raise KeyboardInterrupt

    def interrupt_no_more(self) -> None:
        """From here on a signal only sets `event`."""
        self._interrupts = False

    def _note(self, *_: object) -> None:
        self.event.set()
        if self._interrupts:
            self._interrupts = False
            raise KeyboardInterrupt
        mark_ending(self._job.folder)

    def _watch_parent(self) -> None:
        while os.read(0, 1024):
            pass
        if self._interrupts:
            os.kill(os.getpid(), signal.SIGTERM)
        self.event.set()


def main() -> int:
    """Do the job that standard input names; see the module's text."""
    # Until each of the two processes has handlers of its own, a signal waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    answers = Answers()
    with open(0, "rb", buffering=0, closefd=False) as given:
        line = given.readline()
    if not line.endswith(b"\n"):
        return INTERRUPTED  # whoever started this is gone already
    job = Job.from_line(line)
    supervisor = Supervisor(job.folder)
    child = os.fork()
    if child == 0:
        _drive(job, answers, supervisor.planned)
    answers.close()
    return supervisor.supervise(child)


def _drive(job: Job, answers: Answers, planned: Callable[[int], None]) -> NoReturn:
    stop = Stop(job)
    code = 0
    gc.disable()  # of what is imported and planned nothing becomes garbage
    try:
        capture()
        stop.listen()
        from orchestrator.driving.session import Session

        session = Session(job, stop.event, answers)
        session.plan()
        stop.planned()
        session.begin(planned)
    except BaseException as error:
        stop.interrupt_no_more()
        code = _refuse(error, job, stop, answers)
    else:
        answers.close()
        gc.freeze()
        gc.enable()
        code = session.carry_out()
    sys.stderr.flush()
    os._exit(code)


def _refuse(error: BaseException, job: Job, stop: Stop, answers: Answers) -> int:
    """Tell the console why the run cannot begin; returns the exit code."""
    if isinstance(error, KeyboardInterrupt) or stop.event.is_set():
        return INTERRUPTED  # somebody's code may have turned it into an error of its own
    if isinstance(error, OSError):
        places = {"--state": job.request.state, "--runs": job.request.runs}
        error = explained(error, places) or error
    if isinstance(error, FarmError):
        answers.send(Refused.of(error))
        return 2
    printed = captured().decode(errors="replace")
    answers.send(Crashed(repr(error), printed + "".join(traceback.format_exception(error))))
    return 4


if __name__ == "__main__":
    sys.exit(main())
