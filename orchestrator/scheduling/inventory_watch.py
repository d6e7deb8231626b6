"""The inventory while a run goes on: boards that were added join it, removed ones are drained."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.specs.inventory import Inventory, load_inventory

EVERY_S = 1.0


@dataclass(frozen=True)
class InventoryReading:
    """What became of the file: an inventory, or the words why it is none just now."""

    inventory: Inventory | None
    problem: str = ""


class InventoryWatch:
    """Looks at the file now and then; a file that is saved in two steps is read when it is right.

    Args:
        path: the inventory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._now()
        self._next = 0.0

    def changed(self) -> InventoryReading | None:
        """The inventory when it changed since the last call, else None."""
        moment = time.monotonic()
        if moment < self._next:
            return None
        self._next = moment + EVERY_S
        stamp = self._now()
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        try:
            return InventoryReading(load_inventory(self._path))
        except UserError as error:
            return InventoryReading(None, error.message)

    def _now(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self._path)
        except OSError:
            return (0, 0, 0)
        return (found.st_ino, found.st_size, found.st_mtime_ns)
