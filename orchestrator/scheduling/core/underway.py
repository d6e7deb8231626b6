"""What runs at the moment: steps, the keys that they make, and boards that help. Pure."""

from __future__ import annotations

from orchestrator.planning.graph import Step
from orchestrator.scheduling.core.choosing import Candidate, Load


def helper_id(step: Step, board: str) -> str:
    """The name of a candidate that is a board that helps."""
    return f"{step.id}@{board}"


class Underway:
    """Running steps and helpers.

    Attributes:
        steps: running steps by id.
        candidates: what runs, as `choose` sees it, helpers included; `load`: the same, counted.
        pooled: those that other boards of their pools may share.
        helping: a board to the step that it helps with.
        making: a key to the step that makes it: no two make the same.
        since: when a running step began, in seconds.
    """

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.helping: dict[str, Step] = {}
        self.pooled: dict[str, Step] = {}
        self.candidates: dict[str, Candidate] = {}
        self.load = Load()
        self._keys: dict[str, str] = {}
        self.making: dict[str | None, str] = {}
        self.since: dict[str, float] = {}
        self._leading: dict[str, str] = {}
        self._helped: dict[str, set[str]] = {}  # a step to the boards that helped its attempt

    def start(self, step: Step, key: str, candidate: Candidate, now: float) -> None:
        """A step begins; boards that helped with an earlier attempt may help again."""
        self.steps[step.id] = step
        self.since[step.id] = now
        if step.facts.shared and len(step.pool) > 1:
            self.pooled[step.id] = step
        self.candidates[step.id] = candidate
        self.load.add(candidate)
        self._keys[step.id] = key
        self.making[key] = step.id
        if step.board:
            self._leading[step.board] = step.id
        self._helped.pop(step.id, None)

    def end(self, step: Step) -> None:
        """A step's attempt has ended."""
        self.steps.pop(step.id, None)
        self.since.pop(step.id, None)
        self.pooled.pop(step.id, None)
        candidate = self.candidates.pop(step.id, None)
        if candidate is not None:
            self.load.remove(candidate)
        self.making.pop(self._keys.pop(step.id, ""), None)
        if self._leading.get(step.board) == step.id:
            del self._leading[step.board]

    def help(self, step: Step, candidate: Candidate) -> None:
        """A board begins to help."""
        board = candidate.board
        self.helping[board] = step
        self.candidates[candidate.id] = candidate
        self.load.add(candidate)
        self._helped.setdefault(step.id, set()).add(board)

    def help_ended(self, board: str) -> None:
        """It no longer does."""
        step = self.helping.pop(board)
        self.load.remove(self.candidates.pop(helper_id(step, board)))

    def may_help(self, step: Step, board: str) -> bool:
        """Whether a board has not yet helped with this attempt of a step."""
        return board not in self._helped.get(step.id, ())

    def busy(self, board: str) -> bool:
        """Whether a board runs a step or helps."""
        return board in self._leading or board in self.helping
