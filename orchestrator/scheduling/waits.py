"""Says why this host and its boards wait, whenever that changes."""

from __future__ import annotations

from orchestrator.cluster.interfaces import Head
from orchestrator.events import Waiting
from orchestrator.scheduling.reporter import Reporter


class Waits:
    """Reports reasons of waiting; used from the driver's thread."""

    def __init__(self, ray: Head, reporter: Reporter) -> None:
        self._ray, self._reporter = ray, reporter
        self._said: bool | None = None

    def tell(self) -> None:
        """Report what has changed since the last call."""
        up = self._ray.up
        if up != self._said:
            self._said = up
            self._reporter.emit(Waiting(boards=("",), why="" if up else "ray"))
