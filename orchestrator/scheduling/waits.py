"""Says why this host and its boards wait, whenever that changes."""

from __future__ import annotations

import time

from orchestrator.cluster.ray_cluster import RayCluster
from orchestrator.events import Waiting
from orchestrator.scheduling.core.messages import Reason, ReportWaiting, Why
from orchestrator.scheduling.reporter import Reporter

OFTEN_S = 1.0
"""What is waited for less long is hardly ever said, so that many boards do not fill the log."""


class Waits:
    """Reports reasons of waiting; used from the driver's thread."""

    def __init__(self, ray: RayCluster, reporter: Reporter) -> None:
        self._ray, self._reporter = ray, reporter
        self._said: bool | None = None
        self._next = 0.0
        self._busy: dict[str, Reason] = {}  # who uses boards: each attempt to connect finds it

    def report_ray(self) -> None:
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
        if reason is not None and reason.why is Why.BOARD:
            if all(self._busy.get(board) == reason for board in boards):
                return
            self._busy |= dict.fromkeys(boards, reason)
        else:
            for board in boards:
                self._busy.pop(board, None)
        if reason is None:
            self._reporter.emit(Waiting(boards=boards, why=""))
            return
        why, subject, domain = reason.why.value, reason.subject, reason.domain
        self._reporter.emit(Waiting(boards=boards, why=why, subject=subject, domain=domain))
