"""`farm watch`: a run's console in another terminal, live or replayed from its events."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from orchestrator.cli.run.event_lines import EventLines
from orchestrator.errors import UserError
from orchestrator.events import Event, EventReader, RunStarted
from orchestrator.reporting.analysis.history import find_run, run_folders
from orchestrator.reporting.export.files import results_of
from orchestrator.reporting.live.card import print_card
from orchestrator.reporting.live.console import View
from orchestrator.reporting.live.ending import last_words
from orchestrator.store.going import is_going
from orchestrator.store.run_folder import EVENTS, LATEST

POLL_S = 0.2
SILENT_S = 60.0


def watch(runs: Path, name: str, *, speed: float, as_json: bool) -> int:
    """Show a run to its end; Ctrl-C ends the watching, never the run.

    Args:
        speed: how much faster a run that is over is shown; 0: at once.
        as_json: each event as a line of JSON instead of the console.
    """
    folder = _folder(runs, name)
    console = Console(highlight=False, stderr=as_json)
    reader = EventReader(folder / EVENTS)
    events = list(reader.new())
    if not events:
        raise UserError(f"{folder / EVENTS}: not one whole event in it", "the run never began")
    over = events[-1].event == "run_finished"
    replay = _Replay(events[0].at, speed) if over and speed else None
    clock = replay.clock if replay else time.time
    with EventLines(console) if as_json else View(console, clock) as view:
        for event in events:
            if replay:
                replay.wait_for(event)
            view.show(event)
        if not over:
            _follow(view, reader, silent_after=events[-1].at)
    state = view.state
    if not as_json:
        columns = state.started.columns if state.started else ()
        print_card(console, results_of(state), len(state.cells), columns)
        console.print()
    finished = state.finished
    code = finished.exit_code if finished else 1
    stopped = "a signal" if finished and finished.outcome == "interrupted" else ""
    cached = finished is not None and finished.cached
    words = last_words(
        state, folder.name, code, stopped_by=stopped, folder=str(folder), cached=cached
    )
    for line in words:
        console.print(Text(line), soft_wrap=True)
    return code


def _folder(runs: Path, name: str) -> Path:
    """The run of this name; of `latest` the one that is going on, else the newest."""
    if name == LATEST:
        for folder in reversed(run_folders(runs)):
            if is_going(folder):
                return folder
    return find_run(runs, name)


class _Replay:
    """The time of a run that is over, `speed` times as fast as it was."""

    def __init__(self, first: float, speed: float) -> None:
        self._first, self._speed = first, speed
        self._begun = time.monotonic()

    def clock(self) -> float:
        """Unix seconds within the run."""
        return self._first + (time.monotonic() - self._begun) * self._speed

    def wait_for(self, event: Event) -> None:
        """Sleep until the event's time has come; not for the time until a run was resumed."""
        if isinstance(event, RunStarted):
            self._first, self._begun = event.at, time.monotonic()
        pause = (event.at - self.clock()) / self._speed
        if pause > 0:
            time.sleep(pause)


def _follow(view: View, reader: EventReader, silent_after: float) -> None:
    """Show events as they come, until the run ends; say so once when none come for long."""
    last, reported = silent_after, False
    while view.state.finished is None:
        for event in reader.new():
            view.show(event)
            last, reported = event.at, False
        if not reported and time.time() - last > SILENT_S:
            view.say(
                f"nothing new for {time.time() - last:.0f} s: it waits, or was lost; "
                "Ctrl-C stops watching, `farm resume` goes on with a lost run",
                "yellow",
            )
            reported = True
        time.sleep(POLL_S)
