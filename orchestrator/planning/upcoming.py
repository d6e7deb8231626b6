"""What is still to come on boards that share the head's processors. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Set

from orchestrator.planning.graph import Step


class Upcoming:
    """Steps that wait, ready or not, to measure such a board or to extract there.

    Args:
        waits: whether a step waits.
        tried: whether it was started before: a measurement that failed keeps nobody waiting.

    Attributes:
        boards: those that share the head's processors.
        extractions: how many steps wait to extract.
    """

    def __init__(
        self, boards: Set[str], waits: Callable[[str], bool], tried: Callable[[str], bool]
    ) -> None:
        self.boards, self._waits, self._tried = boards, waits, tried
        self._filed: dict[str, str] = {}  # step id to its board
        self._extracts: Counter[str] = Counter()
        self._measures: Counter[str] = Counter()
        self.extractions = 0

    def note(self, step: Step) -> None:
        """A step's state or board may have changed."""
        filed = step.id in self._filed
        if not filed and (step.board not in self.boards or not step.facts.executes):
            return
        alone = step.facts.alone
        counts = self._measures if alone else self._extracts
        board = self._filed.pop(step.id, None)
        if board is not None:
            counts[board] -= 1
            self.extractions -= not alone
        if (
            step.board in self.boards
            and self._waits(step.id)
            and not (alone and self._tried(step.id))
        ):
            self._filed[step.id] = step.board
            counts[step.board] += 1
            self.extractions += not alone

    def measured_first(self, board: str) -> bool:
        """Whether a board is measured before it extracts.

        It is where others are to extract as well: a measurement that becomes ready behind its own
        board's extraction would keep them from the processors until that ends, and then until it
        has ended itself.
        """
        return self._measures[board] > 0 and self.extractions > self._extracts[board]
