"""Writes a run's events: one writer for many threads, progress thinned out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from orchestrator.events import Event, EventLog, RunFinished, RunStarted, StepProgress

PROGRESS_S = 0.2


class Reporter:
    """Thread-safe front of an event log."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._follower: Callable[[Event], None] = lambda _: None
        self._start: RunStarted | None = None
        self._guard = threading.Lock()
        self._last: dict[str, float] = {}
        self._closed = False

    def emit(self, event: Event) -> None:
        """Append an event; progress that follows too soon on the last is left out."""
        with self._guard:
            if self._closed:
                return
            if isinstance(event, StepProgress):
                now = time.monotonic()
                ended = event.total and event.done >= event.total
                if not ended and now - self._last.get(event.step, 0.0) < PROGRESS_S:
                    return
                self._last[event.step] = now
            self._log.append(event)
            self._follower(event)
            if isinstance(event, RunStarted):
                self._start = event
            # Steps that are being stopped still tell how far they are; readers trust the last word.
            self._closed = isinstance(event, RunFinished)

    def follow(self, follower: Callable[[Event], None]) -> None:
        """Have somebody told of each event from now on, and of the run's start before."""
        with self._guard:
            self._follower = follower
            if self._start is not None:
                follower(self._start)

    def close(self) -> None:
        """Close the log; later events are dropped, since the run has ended."""
        with self._guard:
            self._closed = True
            self._log.close()
