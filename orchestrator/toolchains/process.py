"""Running a vendor's tool: its own folder, a deadline, its words kept.

Vendors' exit codes lie in both directions, so nothing here decides success: the caller looks at
the artifact.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ToolchainError
from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.fleet.transport.deadline import Expired, named

_LAST_LINES = 12
_LONGEST_LINE = 400
# ECMA-48 control sequences (colours, cursor) and operating system commands (titles).
_PAINT = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


@dataclass(frozen=True)
class ToolRun:
    """What a tool did.

    Attributes:
        command: to repeat it by hand, as a shell would take it.
        returncode: as the system gave it; negative is a signal.
        log: standard output and error together.
    """

    command: str
    returncode: int
    log: str

    @property
    def last_words(self) -> str:
        """The end of the log, as a person reads it; see `plain_lines`."""
        return "\n".join(plain_lines(self.log)[-_LAST_LINES:])


def plain_lines(log: str) -> list[str]:
    """A log's lines without what only paints: colours, and lines overwritten by progress bars."""
    lines = [
        _PAINT.sub("", line.rstrip("\r").rsplit("\r", 1)[-1]).rstrip()[:_LONGEST_LINE]
        for line in log.split("\n")
    ]
    return ["".join(c if c.isprintable() else " " for c in line) for line in lines if line]


def run_tool(
    arguments: Sequence[str | Path],
    *,
    folder: Path,
    deadline: float,
    environment: Mapping[str, str] | None = None,
) -> ToolRun:
    """Run a program to its end, in `folder`, at most `deadline` seconds.

    Raises:
        ToolchainError: there is no such program, or it cannot be executed.
        Expired: it was still running at the deadline; it and its children were killed.
    """
    words = [os.fspath(argument) for argument in arguments]
    command = shlex.join(words)
    log = folder / "tool.log"
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolchainError(
                f"cannot run {words[0]}: {error.strerror}", "install it, or correct its path"
            ) from error
        try:
            returncode = process.wait(deadline)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise Expired(
                f"{Path(words[0]).name} was still running after {deadline:g} s and was stopped; "
                f"its last lines:\n{ToolRun(command, 0, _read(log)).last_words}",
                f"to repeat it by hand: {command}",
            ) from error
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    return ToolRun(command, returncode, _read(log))


@contextmanager
def converting(usual_s: float) -> Iterator[float]:
    """Seconds that a converter may take which usually gets `usual_s`, as FARM_DEADLINES has it.

    Raises:
        UserError: FARM_DEADLINES cannot be read.
        TransientError: in the place of `Expired`, with the deadline's name.
    """
    asked = Deadlines.from_environment().convert_s
    seconds = usual_s * asked / Deadlines.convert_s
    with named("convert_s", seconds, asked):
        yield seconds


def _read(path: Path) -> str:
    # Not as text: that would take a progress bar's carriage returns for ends of lines.
    return path.read_bytes().decode("utf-8", "replace")


def require_artifact(path: Path, run: ToolRun, *, at_least: int, tool: str) -> bytes:
    """The file a tool was to make.

    Args:
        path: where it was to be.
        run: what the tool did.
        at_least: bytes below which it cannot be whole.
        tool: its name, for the message.

    Raises:
        ToolchainError: the file is missing or too small, whatever the exit code was.
    """
    data = path.read_bytes() if path.is_file() else b""
    if len(data) < at_least:
        state = f"{path.name} has {len(data)} bytes" if path.is_file() else f"no {path.name}"
        raise ToolchainError(
            f"{tool} ended with exit code {run.returncode} but made {state}, expected at least "
            f"{at_least} bytes; its last lines:\n{run.last_words}",
            f"to repeat it by hand: {run.command}",
        )
    return data
