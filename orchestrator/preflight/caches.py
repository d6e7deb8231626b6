"""What earlier runs saw of boards and of their pace, kept beside the store; either may be lost."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.planning.estimate import rate_name
from orchestrator.planning.facts import BoardFacts
from orchestrator.planning.graph import Step
from orchestrator.specs.inventory import Board


class FactsFile:
    """What boards said of themselves when last met, by the entry that describes them.

    A board whose entry changed is a stranger again. Whatever is read here is verified when the
    board is next connected.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / "boards.json"

    def load(self, boards: Mapping[str, Board]) -> dict[str, BoardFacts]:
        """Facts of the boards that are known under just this entry."""
        known = self._read()
        return {
            name: BoardFacts.from_json(known[_entry(board)])
            for name, board in boards.items()
            if _entry(board) in known
        }

    def save(self, board: Board, facts: BoardFacts) -> None:
        """Remember a board."""
        known = self._read() | {_entry(board): facts.to_json()}
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self._path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(known, indent=1, sort_keys=True))
        temporary.replace(self._path)

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


class RatesFile:
    """How fast stages went, for estimates only: it may be lost at any time."""

    def __init__(self, state: Path) -> None:
        self._path = state / "rates.json"

    def load(self) -> dict[str, float]:
        """Seconds a unit, by `rate_name`."""
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return {k: v for k, v in found.items() if isinstance(v, float)}

    def add(self, step: Step, seconds: float, units: int | None = None) -> None:
        """Remember a step's pace, the newest weighing half; `units` when it did not do all."""
        rates = self.load()
        name, now = rate_name(step), seconds / max(step.units if units is None else units, 1)
        rates[name] = (rates[name] + now) / 2 if name in rates else now
        temporary = self._path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(rates, indent=1, sort_keys=True))
        temporary.replace(self._path)


def _entry(board: Board) -> str:
    text = json.dumps(board.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
