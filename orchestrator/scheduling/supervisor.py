"""The process above the driver: it says how a run ended that could not say so itself."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from orchestrator.events import EventLog, EventReader, Note, RunFinished


def supervise(child: int, events: Path) -> int:
    """Wait for the driver, handing signals on to it.

    Args:
        child: the driver's process.
        events: the run's event log; written only once the driver has ended without a last word.

    Returns:
        the exit code of the run.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(child, number))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
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
