"""Who did what when: a fold over events into spans, for the fleet's timeline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.events import (
    BoardChanged,
    Event,
    Note,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
    Telemetry,
    Waiting,
)
from orchestrator.reporting.waiting import waiting_text

HEAD = "head"  # the lane of steps that compute; `this-host` is often a board's name
Outcome = Literal["done", "retried", "failed", "unfinished"]


@dataclass(frozen=True)
class Span:
    """A step on a board (or on the head) from `start` to `end`, Unix seconds."""

    lane: str
    step: str
    stage: str
    start: float
    end: float
    outcome: Outcome
    attempt: int
    message: str = ""


@dataclass(frozen=True)
class Wait:
    """Why a board that has steps to do did none from `start` to `end`, Unix seconds."""

    lane: str
    start: float
    end: float
    reason: str


@dataclass(frozen=True)
class Mark:
    """Something that happened to a board at one moment."""

    lane: str
    at: float
    message: str


@dataclass
class Timeline:
    """Everything drawn on the time axis.

    Attributes:
        spans: steps in order of their start. Time between two sessions of a run is left out:
            what a resumed run did later is moved up by it.
        down: (lane, start, end, reason) while a board was unreachable or unfit.
        waits: reported reasons of idle boards; logs of earlier versions have none.
        marks: warnings and errors.
        telemetry: by board: (Unix seconds, degrees Celsius, MHz), either of them None.
    """

    began: float = 0.0
    ended: float = 0.0
    spans: list[Span] = field(default_factory=list)
    down: list[tuple[str, float, float, str]] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    telemetry: dict[str, list[tuple[float, float | None, float | None]]] = field(
        default_factory=dict
    )

    @property
    def lanes(self) -> list[str]:
        """The head first, then boards in the order of their first appearance."""
        named = [span.lane for span in self.spans] + [lane for lane, *_ in self.down]
        boards = dict.fromkeys(lane for lane in named if lane != HEAD)
        head = [HEAD] if any(span.lane == HEAD for span in self.spans) else []
        return [*head, *boards]


def timeline(events: Iterable[Event]) -> Timeline:
    """Fold a run's events; what is still open at the end is cut there and marked unfinished."""
    drawn = Timeline()
    running: dict[str, StepStarted] = {}
    down: dict[str, BoardChanged] = {}
    waiting: dict[str, Waiting] = {}
    pause = 0.0
    for event in events:
        if isinstance(event, RunStarted) and drawn.began:
            pause = max(0.0, event.at - drawn.ended)
            _close(drawn, running, down, waiting)
        if pause:
            event = event.model_copy(update={"at": event.at - pause})
        drawn.began = drawn.began or event.at
        drawn.ended = max(drawn.ended, event.at)
        match event:
            case StepStarted():
                running[event.step] = event
                _wait(drawn, waiting, event.board or HEAD, event.at)
            case Waiting():
                for board in event.boards:
                    _wait(drawn, waiting, board or HEAD, event.at, event)
            case StepFinished():
                if (begun := running.pop(event.step, None)) is not None:
                    drawn.spans.append(_span(begun, event.at, "done", event.summary))
            case StepFailed():
                outcome: Outcome = "retried" if event.retry else "failed"
                begun = running.pop(event.step, None)
                at = event.at
                if begun is None:  # it failed before it began, on a board that could not be had
                    begun = StepStarted(
                        at=at, step=event.step, stage=event.stage, board=event.board
                    )
                drawn.spans.append(_span(begun, at, outcome, event.message))
            case BoardChanged():
                was = down.pop(event.board, None)
                if was is not None:
                    drawn.down.append((event.board, was.at, event.at, was.reason))
                if event.state in ("unreachable", "unfit"):
                    down[event.board] = event
                elif event.state == "connecting" and event.reason:
                    drawn.marks.append(Mark(event.board, event.at, event.reason))
            case Telemetry():
                drawn.telemetry.setdefault(event.board, []).append(
                    (event.at, event.temperature_c, event.clock_mhz)
                )
            case Note() if event.board and event.level != "info":
                drawn.marks.append(Mark(event.board, event.at, event.message))
            case _:
                pass
    _close(drawn, running, down, waiting)
    drawn.spans.sort(key=lambda span: span.start)
    return drawn


def _wait(
    drawn: Timeline,
    waiting: dict[str, Waiting],
    lane: str,
    at: float,
    begins: Waiting | None = None,
) -> None:
    """End what the lane waited for, and begin what it waits for now."""
    was = waiting.pop(lane, None)
    if was is not None and at > was.at:
        drawn.waits.append(Wait(lane, was.at, at, waiting_text(was)))
    if begins is not None and begins.why:
        waiting[lane] = begins


def _close(
    drawn: Timeline,
    running: dict[str, StepStarted],
    down: dict[str, BoardChanged],
    waiting: dict[str, Waiting],
) -> None:
    """End what is still open where the log, or a session of a run, ends."""
    for begun in running.values():
        drawn.spans.append(_span(begun, drawn.ended, "unfinished", "no end in the log"))
    for board, was in down.items():
        drawn.down.append((board, was.at, drawn.ended, was.reason))
    for lane in list(waiting):
        _wait(drawn, waiting, lane, drawn.ended)
    running.clear()
    down.clear()


def _span(begun: StepStarted, end: float, outcome: Outcome, message: str) -> Span:
    lane = begun.board or HEAD
    return Span(lane, begun.step, begun.stage, begun.at, end, outcome, begun.attempt, message)
