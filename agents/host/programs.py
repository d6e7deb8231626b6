"""Another program on the board, run to its end: its own folder, a deadline, its words kept.

It dies with this process, however that ends, and never takes part in the session's frames: its
standard output and error go to a file.
"""

import os
import signal
import subprocess
import sys
from typing import List, Mapping, Optional, Sequence

from ..measurement import clock
from ..session import progress

LOG = "tool.log"
_POLL_S = 0.02
_SLOW_POLL_S = 0.2
_TELL_S = 1.0
_TAIL_BYTES = 8192

# The kernel's wish (PR_SET_PDEATHSIG) outlives exec; a program cannot be asked to make it itself.
_GUARD = """
import ctypes, os, sys
try:
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
except (OSError, AttributeError):
    pass
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.stderr.write("cannot run %s: %s" % (sys.argv[2], error))
    os._exit(127)
"""


class Ended(object):
    """How a program ended.

    Attributes:
        status: as the system gave it, negative for a signal; None when it was stopped at the
            deadline.
        seconds: how long it ran.
        lines: the end of what it printed.
    """

    def __init__(self, status: Optional[int], seconds: float, lines: List[str]) -> None:
        self.status = status
        self.seconds = seconds
        self.lines = lines

    @property
    def late(self) -> bool:
        """Whether it was stopped at the deadline."""
        return self.status is None

    @property
    def how(self) -> str:
        """The status in words."""
        if self.status is None:
            return "was stopped after %.0f s" % self.seconds
        if self.status < 0:
            return "was killed by signal %d" % -self.status
        return "ended with status %d" % self.status

    def tail(self, count: int = 6) -> str:
        """The last lines in one."""
        return " | ".join(self.lines[-count:]) or "it printed nothing"


def run(
    words: Sequence[str],
    folder: str,
    limit_s: float,
    doing: str = "",
    env: Optional[Mapping[str, str]] = None,
) -> Ended:
    """Run a program in `folder`; kill it and all that it started after `limit_s` seconds.

    Args:
        doing: what `progress` is told about once a second; nothing is told when empty.
        env: added to this process's environment.

    Raises:
        OSError: no process can be started, or the folder is not writable.
    """
    log = os.path.join(folder, LOG)
    begin = reported = clock.now()
    python = sys.executable or "python3"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [python, "-c", _GUARD, str(os.getpid())] + list(words),
            cwd=folder,
            env=dict(os.environ, **(env or {})),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while True:
            status = process.poll()
            seconds = clock.now() - begin
            if status is not None:
                return Ended(status, seconds, last_lines(log))
            if seconds > limit_s:
                return Ended(None, seconds, last_lines(log))
            if doing and clock.now() - reported >= _TELL_S:
                reported = clock.now()
                progress.report(doing, seconds, limit_s)
            _wait(process, _POLL_S if seconds < 1 else _SLOW_POLL_S)
    finally:
        if process.returncode is None:
            _kill(process)


def last_lines(path: str, count: int = 24) -> List[str]:
    """The end of a log, without progress that a carriage return overwrote."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except (IOError, OSError):
        return []
    lines = [line.rsplit("\r", 1)[-1].strip() for line in text.splitlines()]
    return [line[-400:] for line in lines if line][-count:]


def _wait(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass


def _kill(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        process.kill()
    _wait(process, 2.0)
