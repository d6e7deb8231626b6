"""The console's hold on a driver process: starts it, hears whether the run begins, stops it.

Imports nothing heavy: the driver plans while the console still imports what it shows runs with.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.driving.start_messages import Begun, Crashed, Job, Refused, Said, messages
from orchestrator.request import Request
from orchestrator.store.run_folder import new_name

PROMPT_BACK_S = 2.3
STOPPED = 130


class PlanningFailed(Exception):
    """An internal error while the driver planned; shows as the exception that was raised there."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self._what = what

    def __repr__(self) -> str:
        return self._what


class DriverProcess:
    """A run's driver, a process of its own: it plans, runs, and alone writes event log and store.

    Use as a context manager. The driver ends when this process does: its standard input ends then.
    Whatever Ray prints goes to the run's log file and never onto somebody's screen.

    Args:
        request: what is asked for.
        remeasure: measure again the latencies whose verdict is SUSPECT.
        resuming: the folder of the run that goes on, under its own name; None for a new run.
        name: of a new run, where whoever asks has one from `new_name`.

    Attributes:
        folder: the run's; of a new run it is there once the run has begun.
    """

    def __init__(
        self,
        request: Request,
        *,
        remeasure: bool = False,
        resuming: Path | None = None,
        name: str = "",
    ) -> None:
        self.folder = resuming or Path(request.runs) / (name or new_name())
        job = Job(request, self.folder, resuming is not None, remeasure)
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.driving.process", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C in the terminal is the console's to hand on
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # `begun` says how it ended
            self._input.write(job.to_line())
            self._input.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self._output.close()
        if error is not None:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PROMPT_BACK_S)

    def begun(self, say: Callable[[str, str], None]) -> Begun:
        """Wait until the run has begun.

        Args:
            say: called with lines for the person who waits, and their style.

        Raises:
            UserError: the request cannot be planned, no Ray cluster is where it names one, a
                folder cannot be written, or the run that is to go on is going on; no folder of a
                new run is left.
            TransientError: the disk is full, for instance.
            PlanningFailed: an internal error.
            KeyboardInterrupt: the driver was stopped.
        """
        for message in messages(self._output):
            match message:
                case Said(text, style):
                    say(text, style)
                case Begun():
                    return message
                case Refused():
                    raise message.error
                case Crashed(what, trace):
                    failed = PlanningFailed(what)
                    failed.add_note(trace)
                    raise failed
        code = self._process.wait()
        if code == STOPPED:
            raise KeyboardInterrupt
        raise PlanningFailed(f"the driver process ended while it planned ({how_ended(code)})")

    def poll(self) -> int | None:
        """Its exit code once it has ended."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to stop cleanly."""
        self._process.terminate()


def how_ended(code: int) -> str:
    """An exit code as `subprocess` has it, for a person."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
