"""A run as a fold over its events: what console, table and files are drawn from."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from orchestrator.counting import counted, form, share
from orchestrator.events import (
    BoardChanged,
    CellFailed,
    CellFinished,
    CellInfo,
    Event,
    Forecast,
    Note,
    PlanChanged,
    RunFinished,
    RunStarted,
    StepFailed,
    StepFinished,
    StepInfo,
    StepProgress,
    StepSkipped,
    StepStarted,
    Telemetry,
    Waiting,
)
from orchestrator.reporting.tables.causes import causes, names_of
from orchestrator.reporting.text import plain
from orchestrator.results import CellResult

HEAD = "this host"
LOG_LINES = 200
ENDED = ("done", "failed", "skipped")
EVEN_S = 1.0
"""What a step counts of which a log does not say how long it takes."""


@dataclass
class Running:
    """A step under way. `done` and `total` are in `unit`s; `since` is Unix seconds."""

    step: str
    stage: str
    since: float
    done: int = 0
    total: int = 0
    unit: str = ""
    note: str = ""
    first_done: int | None = None
    first_at: float = 0.0
    at: float = 0.0

    @property
    def rate(self) -> float | None:
        """Units a second since the first progress, None until there is something to go by."""
        if self.first_done is None or self.at <= self.first_at or self.done <= self.first_done:
            return None
        return (self.done - self.first_done) / (self.at - self.first_at)

    @property
    def seconds_left(self) -> float | None:
        """Time left at that rate."""
        rate = self.rate
        return None if rate is None or not self.total else (self.total - self.done) / rate

    def share(self, now: float, expected: float) -> float:
        """How much of it is done, 0 to 1: as told, else by the time it was expected to take."""
        if self.total:
            return min(1.0, self.done / self.total)
        return min(0.95, (now - self.since) / expected) if expected > 0 else 0.0


@dataclass
class BoardLine:
    """What is known of a board now; `since` (Unix seconds) it is in its state."""

    name: str
    state: str = "waiting"
    reason: str = ""
    reported: str = ""
    executed_by: str = ""
    running: Running | None = None
    temperature_c: float | None = None
    clock_mhz: float | None = None
    verdict: str = ""
    steps_left: int = 0
    since: float = 0.0
    waiting: Waiting | None = None


def _still_waits(waiting: Waiting, news: BoardChanged) -> bool:
    """Whether a reason of waiting holds after a board's news."""
    if waiting.why == "board":  # it is tried again and again meanwhile
        return news.state == "connecting"
    return news.state == "ready"


@dataclass
class RunState:
    """Everything a reader may show of a run."""

    started: RunStarted | None = None
    finished: RunFinished | None = None
    boards: dict[str, BoardLine] = field(default_factory=dict)
    steps: dict[str, StepInfo] = field(default_factory=dict)
    step_state: dict[str, str] = field(default_factory=dict)
    finished_steps: set[str] = field(default_factory=set)
    head: dict[str, Running] = field(default_factory=dict)
    cells: dict[str, CellInfo] = field(default_factory=dict)
    results: dict[str, CellResult] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    impossible: set[str] = field(default_factory=set)
    hints: dict[str, str] = field(default_factory=dict)
    log: deque[tuple[float, str, str]] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    forecast: Forecast | None = None
    host_waits: Waiting | None = None
    began: float = 0.0
    said: int = 0
    left: int = 0

    def apply(self, event: Event) -> list[str]:
        """Take an event in.

        Returns:
            Lines worth printing where there is no live view, without time of day.
        """
        self.began = self.began or event.at
        match event:
            case RunStarted():
                return self._start(event)
            case PlanChanged():
                self._rows(event.cells)
                if event.partial:
                    self._replan(event.steps, event.gone)
                else:
                    self._plan(event.steps)
                return []
            case BoardChanged():
                return self._board(event)
            case Telemetry():
                line = self._line(event.board)
                line.temperature_c = event.temperature_c
                line.clock_mhz = event.clock_mhz
                return []
            case StepStarted():
                return self._started(event)
            case StepProgress():
                return self._progress(event)
            case StepFinished():
                return self._finished(event)
            case StepFailed():
                return self._failed(event)
            case StepSkipped():
                self._stand(event.step, "skipped")
                return []
            case CellFinished():
                result = CellResult.model_validate(event.result)
                if self.results.get(event.cell) == result:
                    return []
                self.results[event.cell] = result
                self.failures.pop(event.cell, None)
                return self._say(event.at, "info", f"row {event.cell}: complete")
            case CellFailed():
                self.results.pop(event.cell, None)
                self.failures[event.cell] = plain(event.reason)
                return self._say(event.at, "error", f"row {event.cell}: no result: {event.reason}")
            case Note():
                return self._say(event.at, event.level, event.message)
            case Waiting():
                self._wait(event)
                return []
            case Forecast():
                self.forecast = event
                return []
            case RunFinished():
                self.finished = event
                return []

    @property
    def total(self) -> int:
        """Steps in the plan, those already in the store included."""
        return len(self.steps)

    @property
    def done(self) -> int:
        """Steps finished, failed or skipped."""
        return self.total - self.left

    def left_s(self, now: float) -> tuple[float, float] | None:
        """Seconds until the end, probably between these two, by the run's own latest forecast.

        Args:
            now: Unix seconds.

        Returns:
            None before the first forecast and after the end.
        """
        if self.forecast is None or self.finished is not None:
            return None
        since = max(0.0, now - self.forecast.at)
        return max(0.0, self.forecast.low - since), max(0.0, self.forecast.high - since)

    def share(self, now: float) -> float:
        """How much of the plan's work is done, 0 to 1: each step counts as long as it takes.

        Args:
            now: Unix seconds.
        """
        lines = [line.running for line in self.boards.values() if line.running]
        under_way = {running.step: running for running in [*lines, *self.head.values()]}
        done = total = 0.0
        for name, step in self.steps.items():
            weight = EVEN_S if step.seconds is None else step.seconds
            if step.cached and name not in self.finished_steps:
                continue
            total += weight
            if not self._is_left(name):
                done += weight
            elif (running := under_way.get(name)) is not None:
                done += weight * running.share(now, weight)
        return done / total if total else 1.0

    @property
    def cached(self) -> int:
        """Steps whose output was in the store."""
        return sum(info.cached for info in self.steps.values())

    def _say(self, at: float, level: str, text: str) -> list[str]:
        text = plain(text)  # words of a board may carry terminal escapes
        self.log.append((at, level, text))
        self.said += 1
        return [text]

    def _line(self, board: str) -> BoardLine:
        line = self.boards.get(board)
        if line is None:
            line = self.boards[board] = BoardLine(board)
            mine = (info.id for info in self.steps.values() if info.board == board)
            line.steps_left = sum(map(self._is_left, mine))
        return line

    def _start(self, event: RunStarted) -> list[str]:
        resumed = self.started is not None
        if self.started is not None:
            self._forget_session(self.started, event)
        self.started = event
        for board in event.boards:
            self._line(board)
        self._rows(event.cells)
        self._plan(event.steps)
        word = "resumed: " if resumed else ""
        rows, steps = counted(len(event.cells), "row"), counted(len(event.steps), "step")
        said = [f"run {event.run}: {word}{rows}, {steps}"]
        if self.cached:
            found = share(self.cached, self.total, "step")
            said.append(f"{found} {form(self.total, 'is')} already in the store")
        cannot = {cell.name: cell.reason for cell in event.cells if cell.reason}
        if any(not step.cached for step in event.steps):  # else the last lines say it at once
            boards = {cell.name: cell.board for cell in event.cells}
            for cause in causes(cannot, boards):
                names = names_of(cause, len(event.cells))
                said += self._say(event.at, "warning", f"{names}: cannot run: {cause.what}")
        return said

    def _forget_session(self, before: RunStarted, now: RunStarted) -> None:
        """A run is resumed: rows that it had stay its rows, as long as the matrix is the same."""
        possible = {cell.name for cell in now.cells if not cell.reason}
        same = before.matrix_sha256 == now.matrix_sha256
        results = {n: row for n, row in self.results.items() if same and n in possible}
        fresh = RunState(results=results, log=self.log, said=self.said, began=now.at)
        vars(self).update(vars(fresh))

    def _rows(self, cells: tuple[CellInfo, ...]) -> None:
        for cell in cells:
            self.cells[cell.name] = cell
            self._line(cell.board).executed_by = cell.executed_by
            if cell.reason:
                self.failures[cell.name] = plain(cell.reason)
                self.impossible.add(cell.name)

    def _plan(self, steps: tuple[StepInfo, ...]) -> None:
        """The whole plan; what has begun stays known whatever it says."""
        self.steps = {step.id: step for step in steps} | {
            step: info for step, info in self.steps.items() if step in self.step_state
        }
        for step in steps:
            if step.cached:
                self.step_state.setdefault(step.id, "done")
        left = Counter(info.board for info in self.steps.values() if self._is_left(info.id))
        self.left = left.total()
        for line in self.boards.values():
            line.steps_left = left[line.name]

    def _replan(self, steps: tuple[StepInfo, ...], gone: tuple[str, ...]) -> None:
        """What is not as before of the plan."""
        for step in (*gone, *(info.id for info in steps)):
            if step in self.steps and step not in self.step_state:
                self._count(step, -1)
                del self.steps[step]
        for info in steps:
            if info.id in self.steps:
                continue
            self.steps[info.id] = info
            if info.cached:
                self.step_state.setdefault(info.id, "done")
            if self._is_left(info.id):
                self._count(info.id, 1)

    def _is_left(self, step: str) -> bool:
        return self.step_state.get(step) not in ENDED

    def _count(self, step: str, change: int) -> None:
        """One more or less to do. Kept as events come: a plan may have thousands of steps."""
        info = self.steps.get(step)
        if info is None:
            return
        self.left += change
        if info.board and (line := self.boards.get(info.board)) is not None:
            line.steps_left += change

    def _stand(self, step: str, state: str) -> None:
        before = self._is_left(step)
        self.step_state[step] = state
        if (after := self._is_left(step)) != before:
            self._count(step, 1 if after else -1)

    def _board(self, event: BoardChanged) -> list[str]:
        line = self._line(event.board)
        changed = (line.state, line.reason) != (event.state, event.reason)
        if changed:
            line.since = event.at
        if line.waiting is not None and not _still_waits(line.waiting, event):
            line.waiting = None
        line.state, line.reason = event.state, event.reason
        line.executed_by = event.executed_by
        reason = event.reason.removeprefix(f"{event.board}: ")
        if event.state in ("unreachable", "unfit") and changed:
            return self._say(event.at, "error", f"{event.board} {event.state}: {reason}")
        if event.state == "connecting" and event.reason:
            if line.reported == event.reason:
                return []
            line.reported = event.reason
            return self._say(event.at, "warning", f"{event.board}: {reason}; trying again")
        if event.state == "ready" and event.facts:
            return self._say(event.at, "info", f"{event.board}: connected")
        return []

    def _wait(self, event: Waiting) -> None:
        for board in event.boards:
            if board:
                self._line(board).waiting = event if event.why else None
            else:
                self.host_waits = event if event.why else None

    def _started(self, event: StepStarted) -> list[str]:
        self._stand(event.step, "running")
        running = Running(event.step, event.stage, event.at)
        if event.board:
            self._line(event.board).running = running
            self._line(event.board).waiting = None
        else:
            self.head[event.step] = running
        again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
        return [f"{event.step}: started{again}"]

    def _progress(self, event: StepProgress) -> list[str]:
        running = self._line(event.board).running if event.board else self.head.get(event.step)
        if running is None or running.step != event.step:
            return []
        if running.first_done is None or event.note:  # what has a note is not yet the work itself
            running.first_done, running.first_at = event.done, event.at
        running.done, running.total, running.unit = event.done, event.total, event.unit
        before, running.note = running.note, plain(event.note)
        running.at = event.at
        # Said once for what it is; the live view shows how it goes on.
        new = running.note.startswith("cooling") and not before.startswith("cooling")
        return [f"{event.step}: {running.note}"] if new else []

    def _end(self, step: str, board: str, state: str) -> None:
        self._stand(step, state)
        self.head.pop(step, None)
        if board:
            line = self._line(board)
            if line.running is not None and line.running.step == step:
                line.running = None

    def _finished(self, event: StepFinished) -> list[str]:
        self._end(event.step, event.board, "done")
        if not event.cached:
            self.finished_steps.add(event.step)
        if event.verdict:
            self._line(event.board).verdict = event.verdict
        how = "from the store" if event.cached else f"{event.seconds:.1f} s"
        what = f", {event.summary}" if event.summary else ""
        return self._say(event.at, "info", f"{event.step}: done ({how}{what})")

    def _failed(self, event: StepFailed) -> list[str]:
        self._end(event.step, event.board, "waiting" if event.retry else "failed")
        text = f"{event.step}: {event.message.removeprefix(f'{event.board}: ')}"
        if event.retry:
            return self._say(event.at, "warning", f"{text}; trying again")
        info = self.steps.get(event.step)
        for cell in info.cells if info and event.hint else ():
            self.hints.setdefault(cell, plain(event.hint))
        hint = f" ({event.hint})" if event.hint else ""
        return self._say(event.at, "error", text + hint)
