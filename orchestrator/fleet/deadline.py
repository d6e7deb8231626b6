"""One deadline shared by the steps of a remote call."""

from __future__ import annotations

import time


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
