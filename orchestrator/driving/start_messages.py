"""What console and driver process tell each other until the run has begun.

The console writes one line of JSON, the job, to the driver's standard input. The driver answers on
its standard output, a line each: things to say, and in the end either that the run has begun or
why it cannot. From then on the console reads the run's event log.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import (
    BoardError,
    FarmError,
    ToolchainError,
    TransientError,
    UserError,
)
from orchestrator.request import Request

KINDS = (UserError, TransientError, BoardError, ToolchainError, FarmError)


@dataclass(frozen=True)
class Job:
    """What a driver process is to do.

    Attributes:
        request: what was asked for.
        folder: the run's folder; of a new run it is not there yet.
        resuming: whether it is an earlier run that goes on.
        remeasure: whether latencies whose verdict is SUSPECT are measured again.
    """

    request: Request
    folder: Path
    resuming: bool = False
    remeasure: bool = False

    def to_line(self) -> bytes:
        """One line of JSON, the inverse of `from_line`."""
        fields = {
            "request": self.request.to_json(),
            "folder": str(self.folder),
            "resuming": self.resuming,
            "remeasure": self.remeasure,
        }
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Job:
        """The job that `to_line` wrote."""
        fields = json.loads(line)
        request, folder = Request.from_json(fields["request"]), Path(fields["folder"])
        return cls(request, folder, fields["resuming"], fields["remeasure"])


@dataclass(frozen=True)
class Said:
    """A line for the person who waits; `style` is one of the view's."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Begun:
    """The run has begun.

    Attributes:
        offset: bytes of the event log that were there before.
        todo: whether anything is to be done; else the store holds all of it.
    """

    offset: int
    todo: bool


@dataclass(frozen=True)
class Refused:
    """The run has not begun, for a reason that the person can do something about."""

    kind: str
    message: str
    hint: str

    @classmethod
    def of(cls, error: FarmError) -> Refused:
        """An error as it travels."""
        kind = next(kind for kind in KINDS if isinstance(error, kind))
        return cls(kind.__name__, error.message, error.hint)

    @property
    def error(self) -> FarmError:
        """The error as it was raised in the driver."""
        kind = next(kind for kind in KINDS if kind.__name__ == self.kind)
        return kind(self.message, self.hint)


@dataclass(frozen=True)
class Crashed:
    """The run has not begun, for a fault of farm's: the exception's `repr` and its traceback."""

    what: str
    trace: str


Message = Said | Begun | Refused | Crashed
_MESSAGES: dict[str, type[Message]] = {
    kind.__name__: kind for kind in (Said, Begun, Refused, Crashed)
}


class Answers:
    """The driver's side. The file descriptor is not inherited by programs that it starts."""

    def __init__(self) -> None:
        self._file = os.dup(1)
        os.dup2(2, 1)  # whatever libraries print

    def send(self, message: Message) -> None:
        """Tell the console something; it may be gone."""
        fields: dict[str, Any] = {"is": type(message).__name__, **asdict(message)}
        with contextlib.suppress(OSError):
            os.write(self._file, json.dumps(fields).encode() + b"\n")

    def say(self, text: str, style: str = "dim") -> None:
        """Have a line said."""
        self.send(Said(text, style))

    def close(self) -> None:
        """Say no more."""
        os.close(self._file)


def messages(lines: Iterable[bytes]) -> Iterator[Message]:
    """What a driver's standard output says."""
    for line in lines:
        fields = json.loads(line)
        yield _MESSAGES[fields.pop("is")](**fields)
