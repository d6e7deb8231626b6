"""What earlier runs saw of boards and of their pace, kept beside the store; either may be lost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.planning.emulation import virtual
from orchestrator.planning.evidence import Evidence
from orchestrator.planning.facts import BoardFacts
from orchestrator.planning.paces import Observation
from orchestrator.planning.work import Work
from orchestrator.preflight.this_host import still_true
from orchestrator.specs.inventory import Board

OF_A_KIND, OF_ALL = 8, 2000
"""How many observations are kept: of one kind of work and size on one board, and of all."""


class FactsFile:
    """What boards said of themselves when last met, by the entry that describes them.

    A board whose entry changed is a stranger again, and so is a virtual machine whose agent did
    not yet tell what executes it, and a board that this computer executes when this computer is
    another than it was. Whatever else is read here is verified when the board is next connected.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / "boards.json"

    def load(self, boards: Mapping[str, Board]) -> dict[str, BoardFacts]:
        """Facts of the boards that are known under just this entry."""
        known = self._read()
        found = {
            name: BoardFacts.from_json(known[_entry(board)])
            for name, board in boards.items()
            if _entry(board) in known
        }
        return {
            name: facts
            for name, facts in found.items()
            if not _tells_too_little(facts) and still_true(boards[name], facts)
        }

    def save(self, seen: Iterable[tuple[Board, BoardFacts]]) -> None:
        """Remember boards. The whole file is read and written."""
        known = self._read() | {_entry(board): facts.to_json() for board, facts in seen}
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self._path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(known))
        temporary.replace(self._path)

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


class PacesFile:
    """What earlier steps took, for estimates only: it may be lost at any time.

    `rates.json`, which an earlier farm kept beside it, held the times of steps that had shared
    their processors; it is not read any more.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / "paces.json"

    def load(self) -> list[Observation]:
        """Observations, the oldest first."""
        try:
            found = list(json.loads(self._path.read_text())["seen"])
        except (OSError, ValueError, TypeError, KeyError):
            return []
        return [each for each in map(_observation, found) if each is not None]

    def add(self, seen: Iterable[Observation]) -> None:
        """Remember more; the oldest are forgotten. One that cannot be written is not."""
        observations = kept_observations([*self.load(), *seen])
        plain = [[o.work.to_text(), o.units, round(o.seconds, 3), o.least] for o in observations]
        temporary = self._path.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps({"v": 1, "seen": plain}))
            temporary.replace(self._path)


def kept_observations(seen: Sequence[Observation]) -> list[Observation]:
    """The newest of each kind of work and size, and of all."""
    counts: Counter[tuple[Work, int]] = Counter()
    newest: list[Observation] = []
    for each in reversed(seen):
        counts[each.kind] += 1
        if counts[each.kind] <= OF_A_KIND and len(newest) < OF_ALL:
            newest.append(each)
    return newest[::-1]


def _observation(plain: Any) -> Observation | None:
    """One of the file's; None for what a later farm may have written."""
    try:
        text, units, seconds, least = plain
        return Observation(Work.from_text(text), int(units), float(seconds), float(least))
    except (TypeError, ValueError, AttributeError):
        return None


def _tells_too_little(facts: BoardFacts) -> bool:
    """A virtual machine by an agent of before, whose work might pass for a board's."""
    seen = Evidence.by_agent(facts.machine, facts.identity)
    return "execution" not in facts.identity and bool(virtual(seen))


def _entry(board: Board) -> str:
    text = json.dumps(board.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
