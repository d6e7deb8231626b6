"""The versioned union of events: the one stream that console, log, report and resume fold over.

An event log is a text file with one JSON object a line. Lines are only ever appended, so whatever
a reader finds at the end that is not a whole line has not happened yet.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

EVENTS_VERSION = 1

ExecutedBy = Literal["board", "simulator", "twin", "emulated"]
BoardState = Literal[
    "starting", "connecting", "recovering", "ready", "busy", "unreachable", "unfit", "released"
]
ErrorClass = Literal["user", "transient", "board", "toolchain", "bug"]


class Base(BaseModel):
    """What every event has: the version of this union and the time it happened (Unix seconds)."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)
    v: int = EVENTS_VERSION
    at: float = Field(default_factory=time.time)


class CellInfo(BaseModel):
    """A cell as the plan has it, before it has any figure."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)
    name: str
    hardware: str
    board: str
    executed_by: ExecutedBy
    reason: str = ""  # why it is impossible; empty when it is possible


class StepInfo(BaseModel):
    """A step as the plan has it. `board` is empty for steps that run on the head.

    `seconds` is how long it is expected to take alone, on its contention `domain`; of its `units`
    (images or inferences) and of at `least` so many seconds. `sources` are the steps before it,
    `pool` the boards of which any can do it where there are several, `work` the kind of work of
    which earlier steps tell how long it takes (`planning/work.py`). `all_processors`: it keeps all
    of its domain's processors busy.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)
    id: str
    stage: str
    board: str = ""
    cells: tuple[str, ...] = ()
    executed_by: ExecutedBy | None = None
    cached: bool = False
    domain: str = ""
    seconds: float | None = None
    units: int = 1
    least: float = 0.0
    sources: tuple[str, ...] = ()
    pool: tuple[str, ...] = ()
    priority: int = 0
    work: str = ""
    all_processors: bool = False


class RunStarted(Base):
    """First event of a run: the whole plan, so that a reader needs nothing else.

    A run that is resumed has another one, with what is the plan then: a new session of the same
    run begins there, and what the one before said of boards, steps and its end counts no more.
    """

    event: Literal["run_started"] = "run_started"
    run: str
    farm: str
    matrix: str
    inventory: str
    matrix_sha256: str
    limit: int | None = None
    only: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    cells: tuple[CellInfo, ...]
    steps: tuple[StepInfo, ...]
    boards: tuple[str, ...]


class PlanChanged(Base):
    """Planned again: boards were not as the plan believed, or the inventory changed.

    `board` is empty when it was the inventory or several boards; `cells` are then all rows, new
    ones included, or none where rows are as they were. With `partial`, `steps` are those that are
    new or not as before, and `gone` are the ids of those that are no longer in the plan; without
    it, which logs before that word have, `steps` are all.
    """

    event: Literal["plan_changed"] = "plan_changed"
    board: str = ""
    steps: tuple[StepInfo, ...]
    cells: tuple[CellInfo, ...] = ()
    partial: bool = False
    gone: tuple[str, ...] = ()


class BoardChanged(Base):
    """A board's state. `facts` is what the agent found there (versions, memory, processor)."""

    event: Literal["board_changed"] = "board_changed"
    board: str
    state: BoardState
    executed_by: ExecutedBy
    reason: str = ""
    facts: dict[str, Any] = {}


class Telemetry(Base):
    """A board's temperature in degrees Celsius and clock in MHz, where it tells them."""

    event: Literal["telemetry"] = "telemetry"
    board: str
    temperature_c: float | None = None
    clock_mhz: float | None = None


class StepStarted(Base):
    """A step began, for the `attempt`-th time."""

    event: Literal["step_started"] = "step_started"
    step: str
    stage: str
    board: str = ""
    executed_by: ExecutedBy | None = None
    attempt: int = 1


class StepProgress(Base):
    """How far a running step is; `total` is 0 while unknown, `note` says what else goes on."""

    event: Literal["step_progress"] = "step_progress"
    step: str
    board: str = ""
    done: int
    total: int
    unit: str
    note: str = ""


class StepFinished(Base):
    """A step's output is in the store (or, for deploy, on the board, verified)."""

    event: Literal["step_finished"] = "step_finished"
    step: str
    stage: str
    board: str = ""
    executed_by: ExecutedBy | None = None
    key: str
    cached: bool = False
    seconds: float = 0.0
    summary: str = ""
    verdict: str = ""  # of a measurement
    units: int | None = None  # images that its own board did, where others helped


class StepFailed(Base):
    """A step failed; `retry` says whether it is tried again."""

    event: Literal["step_failed"] = "step_failed"
    step: str
    stage: str
    board: str = ""
    executed_by: ExecutedBy | None = None
    error: ErrorClass
    message: str
    hint: str = ""
    retry: bool = False


class StepSkipped(Base):
    """A step that cannot run because one that it needs has failed."""

    event: Literal["step_skipped"] = "step_skipped"
    step: str
    stage: str
    board: str = ""
    because: str


class CellFinished(Base):
    """A cell has all of its figures; `result` is its entry in results.json."""

    event: Literal["cell_finished"] = "cell_finished"
    cell: str
    executed_by: ExecutedBy
    result: dict[str, Any]


class CellFailed(Base):
    """A cell stays without result."""

    event: Literal["cell_failed"] = "cell_failed"
    cell: str
    executed_by: ExecutedBy
    reason: str


class Note(Base):
    """Something a person should read: `level` says how loudly."""

    event: Literal["note"] = "note"
    level: Literal["info", "warning", "error"]
    message: str
    board: str = ""


class Waiting(Base):
    """Why boards that have steps to do, or this host (an empty name in `boards`), do none of them.

    It holds until another of these names the board, or a step starts there. `why` is

    - `ray`: Ray is being started; without it no board is connected and the host computes nothing;
    - `input`: `subject`, the step that is waited for in the end, is not done;
    - `measurement`: `subject`, a measurement, has the contention `domain` for itself, or is next;
    - `alone`: the board's measurement needs `domain` for itself; `subject` still runs there;
    - `processors`: as many extractions as there are processors run in `domain`, `subject` is one;
    - `same`: `subject`, a running step, makes the same, which the store then has;
    - `retry`: `subject`, a step of the board's own that failed, is tried again after a pause;
    - `board`: somebody else uses the board, `subject` says who; until it is connected;
    - empty: nothing is waited for any more.

    `domain` is empty where it does not matter. Looked at once a second, and boards that wait for
    the same are told together, so what is waited for less long may never be told.
    """

    event: Literal["waiting"] = "waiting"
    boards: tuple[str, ...]
    why: Literal["", "ray", "input", "measurement", "alone", "processors", "same", "retry", "board"]
    subject: str = ""
    domain: str = ""


class Forecast(Base):
    """When the run ends, in seconds from now: probably between `low` and `high`.

    It is the schedule of what is left, with the times that this run's and earlier runs' steps took.
    """

    event: Literal["forecast"] = "forecast"
    low: float
    seconds: float
    high: float


class RunFinished(Base):
    """Last event of a run that ended by itself or was stopped cleanly."""

    event: Literal["run_finished"] = "run_finished"
    exit_code: int
    outcome: Literal["complete", "incomplete", "interrupted", "wrong input", "bug"]
    message: str = ""
    cached: bool = False


Event = Annotated[
    RunStarted
    | PlanChanged
    | BoardChanged
    | Telemetry
    | StepStarted
    | StepProgress
    | StepFinished
    | StepFailed
    | StepSkipped
    | CellFinished
    | CellFailed
    | Note
    | Waiting
    | Forecast
    | RunFinished,
    Field(discriminator="event"),
]

_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event, config=ConfigDict(defer_build=True))
_DURABLE = (RunStarted, StepFinished, StepFailed, CellFinished, CellFailed, RunFinished)


class EventLog:
    """Appends events to a file; those that close something are on the disk when `append` returns.

    One writer only: two would interleave their lines.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "ab+", buffering=0)  # noqa: SIM115 - lives as long as the log
        if self._file.tell() and self._last_byte() != b"\n":
            self._file.write(b"\n")  # what a killed writer left is a line of its own

    def _last_byte(self) -> bytes:
        self._file.seek(-1, os.SEEK_END)
        return self._file.read(1)

    def append(self, event: Event) -> None:
        """Write one event as one line."""
        line = event.model_dump_json(exclude_defaults=False).encode() + b"\n"
        self._file.write(line)
        if isinstance(event, _DURABLE):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; the log stays readable."""
        self._file.close()


class EventReader:
    """Reads an event log from its start, again and again, as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self, until: int | None = None) -> Iterator[Event]:
        """The whole lines appended since the last call; a line that is no event is skipped.

        Args:
            until: read no further than so many bytes from the log's start.
        """
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                data = file.read() if until is None else file.read(max(0, until - self._offset))
        except FileNotFoundError:
            return
        end = data.rfind(b"\n") + 1
        self._offset += end
        yield from read_events(data[:end].splitlines())


def read_events(lines: Iterable[bytes]) -> Iterator[Event]:
    """Events of the lines of a log; a line that is no event is skipped."""
    for line in lines:
        try:
            yield _ADAPTER.validate_python(json.loads(line), strict=False)
        except ValueError:  # a torn line after power loss, or an event of a newer farm
            continue
