"""A run's fold, taken on as its log grows: each event is read once, however many look at it."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.events import (
    CellFailed,
    CellFinished,
    Event,
    EventReader,
    PlanChanged,
    RunStarted,
    Telemetry,
    Waiting,
)
from orchestrator.reporting.export.files import results_of
from orchestrator.reporting.live.state import RunState
from orchestrator.reporting.tables.listing import Listed
from orchestrator.results import CellResult
from orchestrator.store.run_folder import EVENTS

SAMPLES = 600  # of a board's sensors


@dataclass
class Changed:
    """The number of the last event that changed a part of what is shown; 0: none yet.

    Attributes:
        plan: rows or steps, with which every board's part may change.
        boards: by board.
        head: what this host does.
    """

    plan: int = 0
    results: int = 0
    log: int = 0
    head: int = 0
    boards: dict[str, int] = field(default_factory=dict)


class Follower:
    """One run. `lock` is held by whoever reads `state`, which `read` changes in place.

    Attributes:
        began: Unix seconds of the first event, 0 before it.
        seconds: how long the run has taken, without the time between two sessions.
        events: how many have been read.
        sensors: by board, its last (Unix seconds, degrees Celsius, MHz).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.state = RunState()
        self.changed = Changed()
        self.began = self.seconds = 0.0
        self.events = 0
        self.sensors: dict[str, deque[tuple[float, float | None, float | None]]] = {}
        self._reader = EventReader(folder / EVENTS)
        self._last = 0.0
        self._rows: tuple[int, list[CellResult]] = (-1, [])
        self._inode = self._size = 0

    def read(self) -> None:
        """Take in what has been written since."""
        try:
            found = (self.folder / EVENTS).stat()
        except OSError:
            return
        with self.lock:
            if found.st_size == self._size and found.st_ino == self._inode:
                return
            if self._inode and (found.st_ino != self._inode or found.st_size < self._size):
                self._begin_again()
            self._inode, self._size = found.st_ino, found.st_size
            for event in self._reader.new():
                self._take(event)

    def results(self) -> list[CellResult]:
        """Finished rows in the plan's order, their p values adjusted."""
        with self.lock:
            number = max(self.changed.results, self.changed.plan)
            if self._rows[0] != number:
                self._rows = (number, results_of(self.state))
            return self._rows[1]

    def listed(self) -> Listed:
        """The run as a list has it."""
        with self.lock:
            rows = self.results()
            return Listed.of_state(self.folder, self.state, rows, self.began, self.seconds)

    def _begin_again(self) -> None:
        """The log is another one now."""
        events = self.events
        fresh = Follower(self.folder)
        fresh.lock = self.lock
        vars(self).update(vars(fresh))
        self.events = events  # numbers go on, so that whoever shows the run sees that all changed

    def _take(self, event: Event) -> None:
        said = self.state.said
        self.state.apply(event)
        self.events += 1
        self.began = self.began or event.at
        if self._last and not isinstance(event, RunStarted):
            self.seconds += event.at - self._last
        self._last = event.at
        self._mark(event)
        if self.state.said != said:
            self.changed.log = self.events
        if isinstance(event, Telemetry):
            samples = self.sensors.setdefault(event.board, deque(maxlen=SAMPLES))
            samples.append((event.at, event.temperature_c, event.clock_mhz))

    def _mark(self, event: Event) -> None:
        number, changed = self.events, self.changed
        if isinstance(event, RunStarted | PlanChanged):
            changed.plan = number
        elif isinstance(event, CellFinished | CellFailed):
            changed.results = number
        elif isinstance(event, Waiting):
            changed.boards |= dict.fromkeys(event.boards, number)
            if "" in event.boards:  # boards that connect wait for what this host waits for
                changed.plan = number
        elif board := getattr(event, "board", ""):
            changed.boards[board] = number
        else:
            changed.head = number


class Followers:
    """Followers of the runs that were looked at last."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._found: OrderedDict[Path, Follower] = OrderedDict()

    def of(self, folder: Path) -> Follower:
        """The run's follower, taken on to the end of its log."""
        with self._lock:
            follower = self._found.get(folder)
            if follower is None:
                follower = self._found[folder] = Follower(folder)
            self._found.move_to_end(folder)
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        follower.read()
        return follower
