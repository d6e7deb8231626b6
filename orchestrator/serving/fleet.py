"""The fleet as its pages show it: the inventory's boards, and the fold over the fleet log."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import FarmError
from orchestrator.fleet.boards.entry import identity
from orchestrator.serving.catalogue import Catalogue
from orchestrator.specs.inventory import Board, load_inventory
from orchestrator.store.fleet_entries import Entry
from orchestrator.store.fleet_log import FleetLog, Standing

FRESH_S = 60.0  # a standing changes with time, too: a proof grows old
HISTORY = 400  # lines of a board's log
LET_GO = ("starting", "unreachable", "unfit", "released", "waiting")


@dataclass(frozen=True)
class Held:
    """A run has a board. `step` is what it does there; empty when it waits."""

    run: str
    step: str


@dataclass(frozen=True)
class Fleet:
    """The boards of the inventory, and what is known of each.

    Attributes:
        problem: why the inventory or the fleet log cannot be read; empty when they can.
    """

    boards: tuple[Board, ...] = ()
    standings: Mapping[str, Standing] = field(default_factory=dict)
    problem: str = ""

    def board(self, name: str) -> Board | None:
        """A board by its name."""
        return next((board for board in self.boards if board.name == name), None)


class FleetView:
    """Reads the inventory and the fleet log again when they have changed."""

    def __init__(self, inventory: Path, runs: Path) -> None:
        self._inventory = inventory
        self._log = FleetLog(runs)
        self._lock = threading.Lock()
        self._known: tuple[object, ...] = ()
        self._read_at = 0.0
        self._fleet = Fleet()

    def read(self) -> Fleet:
        """The fleet now."""
        with self._lock:
            marks = (_mark(self._inventory), _mark(self._log.path))
            if marks != self._known or time.monotonic() - self._read_at > FRESH_S:
                self._fleet = self._loaded()
                self._known, self._read_at = marks, time.monotonic()
            return self._fleet

    def history(self, board: str) -> list[Entry]:
        """A board's last lines of the fleet log, oldest first.

        Raises:
            TransientError: the log is there and cannot be read.
        """
        return self._log.history(board, HISTORY)

    def _loaded(self) -> Fleet:
        try:
            boards = tuple(load_inventory(self._inventory).boards)
            ids = {board.name: identity(board) for board in boards}
            return Fleet(boards, self._log.standings(ids))
        except FarmError as error:
            return Fleet(problem=str(error))


def holders(catalogue: Catalogue) -> dict[str, Held]:
    """Which run that goes on has which board."""
    found = {}
    for entry in reversed(catalogue.going()):
        follower = catalogue.follower(entry)
        with follower.lock:
            for line in follower.state.boards.values():
                if line.state not in LET_GO:
                    step = line.running.step if line.running is not None else ""
                    found[line.name] = Held(entry.name, step)
    return found


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
