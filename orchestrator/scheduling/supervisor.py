"""The process above the driver: it says how a run ended that could not say so itself, and leaves
nothing behind that the driver or Ray started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

from orchestrator.events import EventLog, EventReader, Note, RunFinished
from orchestrator.fleet.transport.processes import members

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
ORPHANS_S = 10.0  # agents restore a board's clocks in this time, and Ray's helpers see its end


def adopt_orphans() -> None:
    """Have the kernel make orphans among this process's descendants its children.

    Ray's helpers that start just when their raylet is killed never notice that it has gone: with
    the usual init as their parent nobody would ever end them. Call it before the driver starts.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans() -> None:
    """Wait for every descendant of this process to end; kill what is left after `ORPHANS_S`."""
    end = time.monotonic() + ORPHANS_S
    while left := _descendants():
        if time.monotonic() > end:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _descendants() -> set[int]:
    """Living processes below this one; those that have ended are reaped."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    here = os.getpid()
    return members((), also=(here,)) - {here}


def supervise(child: int, events: Path) -> int:
    """Wait for the driver, handing signals on to it.

    Args:
        child: the driver's process.
        events: the run's event log; written only once the driver has ended without a last word.
            What the driver left running is ended after that.

    Returns:
        the exit code of the run.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(child, number))
    code = _wait(child)
    try:
        return _last_word(code, events)
    finally:
        end_orphans()


def _wait(child: int) -> int:
    """The driver's exit code; adopted processes that end meanwhile are reaped."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def _last_word(code: int, events: Path) -> int:
    last = None
    for event in EventReader(events).new():
        last = event
    if isinstance(last, RunFinished):
        return code
    what = "and took the driver with it" if code >= 0 else f"or signal {-code} killed the driver"
    message = f"Ray's raylet or another of its processes ended, {what}; `farm resume` goes on"
    log = EventLog(events)
    log.append(Note(level="error", message=message))
    log.append(RunFinished(exit_code=1, outcome="incomplete", message=message))
    log.close()
    return 1
