"""Deadlines of remote calls: one shared by a call's steps, and its name in what a person reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.errors import BoardError, TransientError

ENVIRONMENT = "FARM_DEADLINES"
SOON_S = 0.2


class Deadline:
    """Counts down on the monotonic clock, so that a change of the wall clock moves nothing."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._end - time.monotonic())

    @property
    def expired(self) -> bool:
        return self.remaining() == 0.0

    @property
    def over(self) -> bool:
        """Whether what fails now has run into it: libraries raise their timeouts a little early."""
        return self.remaining() < SOON_S


class Expired(TransientError):
    """A deadline ended; whoever set it says which one (`named`)."""


class Hung(BoardError):
    """A runtime did not answer by a deadline and was killed on its board."""


def longer(name: str, seconds: float) -> str:
    """What to type so that a deadline of so many seconds is twice as long."""
    return f"{ENVIRONMENT}='{{\"{name}\": {2 * seconds:g}}}' waits longer"


@contextmanager
def named(name: str, seconds: float, whole: float | None = None) -> Iterator[None]:
    """What ends a deadline within says which one it was, and how to raise it.

    Args:
        name: of the field of `Deadlines`.
        seconds: what it is.
        whole: what was asked for, where that decides it and is another.

    Raises:
        TransientError, BoardError: in the place of `Expired` and `Hung`.
    """
    try:
        yield
    except (Expired, Hung) as error:
        kind = BoardError if isinstance(error, Hung) else TransientError
        asked = seconds if whole is None else whole
        by = "" if asked == seconds else f"{seconds:g} s by "
        hint = "; ".join(text for text in (error.hint, longer(name, asked)) if text)
        renamed = kind(f"{error.message} ({by}{name}: {asked:g} s)", hint)
        renamed.last_words, renamed.deadline = error.last_words, name
        raise renamed from error
