"""The process above the driver: it says how a run ended that could not say so itself, and leaves
nothing behind that the driver or Ray started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import threading
import time
from pathlib import Path

from orchestrator.store.going import mark_ending
from orchestrator.store.run_folder import EVENTS, LOG

STOPS = (signal.SIGTERM, signal.SIGINT)
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
ORPHANS_S = 10.0  # agents restore a board's clocks in this time, and Ray's helpers see its end
PLANNING_STOPS_S = 2.0
"""How long planning may take no notice of a signal: it holds nothing that must be put away."""


class Supervisor:
    """Waits for the driver, handing signals on to it. To be made before the driver is forked.

    Orphans among the descendants of this process become its children: Ray's helpers that start
    just when their raylet is killed never notice that it has gone, and with the usual init as
    their parent nobody would ever end them.

    Args:
        folder: the run's; its event log is written only once the driver has ended without a last
            word.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child = 0
        self._lock: int | None = None
        self._hears, self._tells = socket.socketpair()
        self._hears.setblocking(False)
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def planned(self, lock: int) -> None:
        """Called in the driver, a fork of this process: from here on the run is in its folder.

        Args:
            lock: what holds the run; this process holds it too, until nothing is left of the run.
        """
        socket.send_fds(self._tells, [b"1"], [lock])

    def supervise(self, child: int) -> int:
        """Wait for the driver, and end what it left; signals, blocked so far, are let through.

        Args:
            child: its process.

        Returns:
            the exit code of the run.
        """
        self._child = child
        self._tells.close()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (1, 2):  # who waits for the console's output to end does not wait for this
            os.dup2(nowhere, number)
        for signal_ in STOPS:
            signal.signal(signal_, self._stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        threading.Thread(target=self._watch_parent, name="parent", daemon=True).start()
        code = _wait(child)
        self._child = 0
        if not self._has_planned():
            return code
        mark_ending(self._folder)
        try:
            return self._last_word(code)
        finally:
            end_orphans()

    def _has_planned(self) -> bool:
        if self._lock is None:
            with contextlib.suppress(BlockingIOError):
                received = socket.recv_fds(self._hears, 1, 1)[1]
                self._lock = received[0] if received else None
        return self._lock is not None

    def _watch_parent(self) -> None:
        while os.read(0, 1024):  # the driver sees its end too
            pass
        self._expect_end()

    def _stop(self, *_: object) -> None:
        if self._child:
            os.kill(self._child, signal.SIGTERM)
        self._expect_end()

    def _expect_end(self) -> None:
        if not self._child:
            return
        if self._has_planned():
            mark_ending(self._folder)
            return
        late = threading.Timer(PLANNING_STOPS_S, self._kill_planning)
        late.daemon = True
        late.start()

    def _kill_planning(self) -> None:
        if self._child and not self._has_planned():
            os.kill(self._child, signal.SIGKILL)

    def _last_word(self, code: int) -> int:
        """Say how the run ended where the driver has not."""
        from orchestrator.events import EventLog, EventReader, Note, RunFinished

        events = self._folder / EVENTS
        last = None
        for event in EventReader(events).new():
            last = event
        if isinstance(last, RunFinished):
            return code
        with open(self._folder / LOG, "ab") as said:
            os.dup2(said.fileno(), 2)
        killed = f"or signal {-code} killed the driver"
        what = killed if code < 0 else "and took the driver with it"
        message = f"Ray's raylet or another of its processes ended, {what}; `farm resume` goes on"
        log = EventLog(events)
        log.append(Note(level="error", message=message))
        log.append(RunFinished(exit_code=1, outcome="incomplete", message=message))
        log.close()
        return 1


def _wait(child: int) -> int:
    """The driver's exit code; adopted processes that end meanwhile are reaped."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return os.waitstatus_to_exitcode(status)


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
    from orchestrator.fleet.transport.processes import members

    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    here = os.getpid()
    return members((), also=(here,)) - {here}
