"""A run's own estimate of its end, and what later runs learn from it."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.events import Event, Forecast
from orchestrator.planning.paces import Observation
from orchestrator.preflight.caches import PacesFile
from orchestrator.preflight.planner import Plan
from orchestrator.scheduling.forecast import Expected, Forecaster

OFTEN_S, SELDOM_S = 2.0, 60.0
"""Between two forecasts: of a run that ends soon, and of one that ends after hours."""
LEAST_CHANGE = 0.1
"""Of the time left: a smaller difference is not reported."""
WRITE_S = 30.0
"""Between two writings of the file of paces, all of which is read and written for it."""
SHARE = 0.02
"""Of a processor that forecasts may take."""


class Learning:
    """Follows a run's events. `take` may be called from any thread, `report` from one.

    Args:
        processors: of the head.
        emit: takes the forecasts.
    """

    def __init__(self, plan: Plan, processors: int, emit: Callable[[Event], None]) -> None:
        self._paces = PacesFile(Path(plan.request.state))
        self._forecaster = Forecaster(self._paces.load(), processors, plan.domains())
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._seen: list[Observation] = []  # not yet written
        self._emit, self._next, self._next_writing = emit, 0.0, 0.0
        self._said: tuple[float, Expected] | None = None

    def take(self, event: Event) -> None:
        """An event was written."""
        if not isinstance(event, Forecast):
            self._events.put(event)

    def learn(self) -> None:
        """Remember what the steps that have ended took, for later runs."""
        self._take_in()
        if self._seen:
            self._paces.add(self._seen)
            self._seen, self._next_writing = [], time.monotonic() + WRITE_S

    def _take_in(self) -> None:
        while not self._events.empty():
            self._seen += self._forecaster.take(self._events.get())

    def report(self) -> None:
        """Say when the run ends, where that was not said a moment ago."""
        began = time.monotonic()
        if began >= self._next_writing:
            self.learn()
        else:
            self._take_in()
        if began < self._next:
            return
        found = self._forecaster.expected(time.time())
        left = found.seconds if found else 0.0
        pause = min(SELDOM_S, max(OFTEN_S, left / 100))
        self._next = began + max(pause, (time.monotonic() - began) / SHARE)
        if found is None or not self._is_worth_reporting(began, found):
            return
        self._said = (began, found)
        rounded = (round(each, 1) for each in (found.low, found.seconds, found.high))
        low, seconds, high = rounded
        self._emit(Forecast(low=low, seconds=seconds, high=high))

    def _is_worth_reporting(self, now: float, found: Expected) -> bool:
        """Whether it differs from what a reader of the latest forecast believes by now."""
        if self._said is None:
            return True
        at, said = self._said
        passed = now - at
        pairs = ((found.low, said.low), (found.seconds, said.seconds), (found.high, said.high))
        return any(abs(new - (old - passed)) > max(1.0, LEAST_CHANGE * new) for new, old in pairs)
