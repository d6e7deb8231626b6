"""Says why this host and its boards wait, whenever that changes."""

from __future__ import annotations

import time

from orchestrator.cluster.interfaces import Head
from orchestrator.events import Waiting
from orchestrator.scheduling.core.messages import ReportWaiting
from orchestrator.scheduling.reporter import Reporter

OFTEN_S = 1.0
"""What is waited for less long is hardly ever said, so that many boards do not fill the log."""


class Waits:
    """Reports reasons of waiting; used from the driver's thread."""

    def __init__(self, ray: Head, reporter: Reporter) -> None:
        self._ray, self._reporter = ray, reporter
        self._said: bool | None = None
        self._next = 0.0

    def tell(self) -> None:
        """Report whether Ray is waited for, where that changed."""
        up = self._ray.up
        if up != self._said:
            self._said = up
            self._reporter.emit(Waiting(boards=("",), why="" if up else "ray"))

    def due(self) -> bool:
        """Whether the reasons of boards are to be looked at again."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + OFTEN_S
        return True

    def report(self, instruction: ReportWaiting) -> None:
        """Report why boards wait."""
        boards, reason = instruction.boards, instruction.reason
        if reason is None:
            self._reporter.emit(Waiting(boards=boards, why=""))
            return
        why, subject, domain = reason.why.value, reason.subject, reason.domain
        self._reporter.emit(Waiting(boards=boards, why=why, subject=subject, domain=domain))
