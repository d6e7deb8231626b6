"""A run as its console sees it: the driver process, and its events shown as they come.

Nothing is written here, and nothing printed but through the view: the command line and the Python
API share this. A run that was asked for before is found here again.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from orchestrator.driving.start import PROMPT_BACK_S, DriverProcess, how_ended
from orchestrator.errors import UserError
from orchestrator.events import EventReader
from orchestrator.reporting.analysis.history import find_run
from orchestrator.reporting.live.console import View
from orchestrator.request import Request
from orchestrator.store.run_folder import EVENTS, LOG, REMOTE, REQUEST

POLL_S = 0.1


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        folder: where it is kept.
        exit_code: as the command line gives it.
        cached: whether the run is complete and the store held everything: nothing was run.
        signal: what stopped it, None when nothing did.
    """

    folder: Path
    exit_code: int
    cached: bool
    signal: signal.Signals | None


def folder_of(runs: str, name: str) -> Path:
    """The folder of an earlier run, which may have ended before its first event.

    Args:
        name: its name, the beginning of one, `latest`, or a path to its folder.

    Raises:
        UserError: there is no such run.
    """
    exact = Path(runs) / name
    if (exact / REQUEST).is_file():
        return exact.with_name(exact.resolve().name) if exact.is_symlink() else exact
    return find_run(Path(runs), name)


def remote_folder(runs: str, name: str) -> Path | None:
    """The folder of a run that a server carries out; None of a run of this computer, or of none.

    Args:
        name: as for `folder_of`.
    """
    for path in (Path(runs) / name, Path(name)):
        if (path / REMOTE).is_file():
            return path.parent / path.resolve().name
    if not name or not Path(runs).is_dir():
        return None
    begin = [path for path in Path(runs).iterdir() if path.name.startswith(name)]
    found = begin[0] if len(begin) == 1 else None
    return found if found is not None and (found / REMOTE).is_file() else None


def request_of(runs: str, name: str) -> Request:
    """What an earlier run was asked for.

    Raises:
        UserError: there is no such run, or what it was asked for cannot be read any more.
    """
    file = folder_of(runs, name) / REQUEST
    try:
        return Request.from_json(json.loads(file.read_text()))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{file} is damaged: {error}",
            "`farm run` starts a new run; what that run has finished is used",
        ) from error
    except OSError as error:
        raise UserError(
            f"{file} cannot be read: {error.strerror}",
            "`farm run` starts a new run; what that run has finished is used",
        ) from None


def follow(driver: DriverProcess, view: View) -> Ended:
    """Stay with a run to its end.

    Ctrl-C and SIGTERM end the run cleanly when this is the main thread.

    Args:
        driver: its driver process, which has just been started.
        view: shows the run; already entered.

    Raises:
        UserError: the request cannot be planned, no Ray cluster is where it names one, a folder
            cannot be written, or the run that is to go on is going on; nothing was started.
        KeyboardInterrupt: Ctrl-C before the run had begun.
    """
    begun = driver.begun(view.say)
    reader = EventReader(driver.folder / EVENTS)
    for event in reader.new(until=begun.offset):
        view.recall(event)
    with _Signals() as signals:
        code = _shown(driver, view, reader, signals)
    return Ended(driver.folder, code, not begun.todo and code == 0, signals.received)


def _shown(driver: DriverProcess, view: View, reader: EventReader, signals: _Signals) -> int:
    """Show events until the last one, or until whoever stopped the run has waited long enough."""
    stopping: float | None = None
    while True:
        ended = driver.poll()
        for event in reader.new():
            view.show(event)
        finished = view.state.finished
        if finished is not None:
            return signals.exit_code or finished.exit_code
        if signals.received and stopping is None:
            stopping = time.monotonic()
            driver.terminate()
            view.say("stopping: what is finished is kept …", "yellow")
        if stopping is not None and time.monotonic() - stopping > PROMPT_BACK_S:
            return signals.exit_code
        if ended is not None:
            words = f"the driver process ended ({how_ended(ended)}); see {driver.folder / LOG}"
            view.say(words, "red")
            return signals.exit_code or 4
        time.sleep(POLL_S)


class _Signals:
    """Notes Ctrl-C and SIGTERM instead of dying of them; other threads than the main one cannot."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        """130 or 143 once a signal has come, else 0."""
        return 128 + self.received if self.received else 0

    def __enter__(self) -> _Signals:
        main = threading.current_thread() is threading.main_thread()
        taken = (signal.SIGINT, signal.SIGTERM) if main else ()
        self._old = [(s, signal.signal(s, self._note)) for s in taken]
        return self

    def __exit__(self, *_: object) -> None:
        for number, old in self._old:
            signal.signal(number, old)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)
