"""Ctrl-C: whatever farm is doing, it ends with one line and exit code 130."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

STOPPED = 130
WORDS = "farm: stopped by Ctrl-C"


class _Stop:
    """Ctrl-C raises KeyboardInterrupt once, as always, so that everything is put away.

    Code that was just being imported, or a library's callback, may turn that into an error of its
    own or swallow it: `asked` says what it was. A second Ctrl-C ends the process at once.
    """

    def __init__(self) -> None:
        self.asked = False

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """Handle SIGINT."""
        if self.asked:
            leave()
        self.asked = True
        raise KeyboardInterrupt

    def unraisable(self, details: Any) -> None:
        """Something was raised where nobody could take it, in a destructor for instance."""
        if self.asked:
            leave()
        sys.__unraisablehook__(details)


STOP = _Stop()


def run(main: Callable[[], int]) -> NoReturn:
    """Call `main` and end the process with its exit code."""
    signal.signal(signal.SIGINT, STOP.note)
    sys.unraisablehook = STOP.unraisable
    # Python's tracker of semaphores frees what a stopped pool left, and would say so after the
    # prompt is back; it reads these options when it starts.
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    try:
        code = main()
    except BaseException:
        if not STOP.asked:
            raise
        leave()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done but the interpreter's own end
    if code == STOPPED:
        _flush()
        os._exit(code)  # threads that still compute would hold up the end
    gc.freeze()  # or the end would look for garbage among all that was imported
    sys.exit(code)


def leave() -> NoReturn:
    """End the process now, with the one line."""
    _flush()
    os.write(2, f"{WORDS}\n".encode())
    os._exit(STOPPED)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
