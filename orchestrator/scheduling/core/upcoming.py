"""What is still to come on boards that share the head's processors. Pure."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.planning.graph import Step


class Upcoming:
    """Steps that wait, ready or not, by id.

    Attributes:
        extractions: those that extract on the head's processors.
        measurements: those that measure a board.
    """

    def __init__(self) -> None:
        self.extractions: dict[str, Step] = {}
        self.measurements: dict[str, Step] = {}

    def note(self, step: Step, *, waits: bool, extracts_here: bool) -> None:
        """A step waits, or does no longer."""
        if step.facts.alone:
            steps = self.measurements
        elif extracts_here:
            steps = self.extractions
        else:
            return
        if waits:
            steps[step.id] = step
        else:
            steps.pop(step.id, None)

    def measured_first(self, tried: Callable[[str], bool]) -> set[str]:
        """Boards that are measured before they extract on the head's processors.

        A measurement that becomes ready behind its own board's extraction would keep all others
        from these processors until that ends, and then until it has ended itself.

        Args:
            tried: whether a step was started before; one that failed keeps nobody waiting.
        """
        first = {s.board for s in self.measurements.values() if not tried(s.id)}
        return {name for name in first if self._others_extract(name)}

    def _others_extract(self, board: str) -> bool:
        return any(step.board != board for step in self.extractions.values())
