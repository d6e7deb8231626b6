"""The fleet log as a run uses it: who may get work, and what the run learnt of its boards."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestrator.errors import BoardError, FarmError, TransientError
from orchestrator.fleet.boards.entry import identity
from orchestrator.fleet.boards.person import person
from orchestrator.specs.inventory import Board
from orchestrator.store.fleet_entries import (
    NOT_DESCRIBED,
    Checked,
    Described,
    Entry,
    Proof,
    Quarantined,
    Recovering,
    Worked,
)
from orchestrator.store.fleet_log import FleetLog, Standing, fold
from orchestrator.store.reservations import Reservation, holder


class FleetBook:
    """Standings of the inventory's boards; of a log that has grown only the new lines are read.

    The fleet's memory is no condition of a run: what cannot be written is said in the driver's log.

    Args:
        runs: the folder of runs, which holds the log.
        by: who writes into it.
    """

    def __init__(self, runs: Path, by: str) -> None:
        self._log, self._by = FleetLog(runs), by
        self._standings: dict[str, Standing] = {}
        self._boards: dict[str, Board] = {}
        self._lines: dict[str, list[Entry]] = {}
        self._inode = self._offset = 0
        self._removed: set[str] = set()
        self._me = person()
        self._others: dict[str, Reservation] = {}

    def read(self, boards: Mapping[str, Board]) -> bool:
        """Take in what has been written since; returns whether work is given out otherwise now."""
        before = set(self._others)
        written = self._read(boards)
        self._others = self._reserved()
        return written or before != set(self._others)

    def _read(self, boards: Mapping[str, Board]) -> bool:
        try:
            found = self._log.path.stat()
            inode, size = found.st_ino, found.st_size
        except OSError:
            inode = size = 0
        if (inode, size) == (self._inode, self._offset) and boards == self._boards:
            return False
        anew = inode != self._inode or size < self._offset or boards != self._boards
        if inode != self._inode or size < self._offset:
            self._inode, self._offset, self._lines = inode, 0, {}
        try:
            if self._offset:
                new, self._offset = self._log.since(self._offset)
            else:
                self._lines, self._offset = self._log.counting()
                new = []
        except TransientError as error:
            print(error, file=sys.stderr)
            new = []
        for entry in new:
            self._lines.setdefault(entry.board, []).append(entry)
        touched = set(boards) if anew else {entry.board for entry in new}
        self._boards = dict(boards)
        now = time.time()
        for name in touched & set(boards):
            lines = self._lines.get(name, [])
            self._standings[name] = fold(lines, identity(boards[name]), now)
        return True

    def standing(self, board: str) -> Standing:
        """How a board stands."""
        return self._standings.get(board, Standing("unproved", "never checked"))

    def reserved(self, board: str) -> Reservation | None:
        """Whose the board is by now, where it is not whoever runs this; waited for."""
        return self._others.get(board)

    def _reserved(self) -> dict[str, Reservation]:
        now = time.time()
        held = {name: holder(each.reserved, now) for name, each in self._standings.items()}
        return {n: each for n, each in held.items() if each is not None and each.by != self._me}

    def remove(self, board: str) -> None:
        """A board was taken out of the inventory while the run goes on."""
        self._removed.add(board)

    def put_back(self, board: str) -> None:
        """It is in the inventory again."""
        self._removed.discard(board)

    def is_removed(self, board: str) -> bool:
        """Whether it was taken out."""
        return board in self._removed

    def refusal(self, board: str, runtime: str | None) -> BoardError | None:
        """Why a board gets no work, with the command that changes it; None when it may."""
        if board in self._removed:
            return BoardError(f"{board} was taken out of the inventory while the run went on")
        standing = self.standing(board)
        reason = standing.refusal(runtime)
        if reason is None:
            return None
        state = standing.state if standing.state in ("draining", "quarantined") else "unproved"
        return BoardError(f"{board} is {state}: {reason}; `{standing.remedy(board)}` changes that")

    def needs_check(self, board: str) -> bool:
        """Whether a tiny real inference must succeed before the board gets work."""
        return self.standing(board).needs_check

    def checked(self, entry: Checked) -> None:
        """A check ended at lease."""
        self._append(entry)

    def failed(self, board: Board, error: FarmError) -> None:
        """A run gives a board up: one that failed is quarantined, a silent one is unreachable."""
        reason = error.message.removeprefix(f"{board.name}: ")
        key = {"board": board.name, "by": self._by, "identity": identity(board), "reason": reason}
        if isinstance(error, BoardError):
            self._append(Quarantined.model_validate(key))
        else:
            state = "unreachable" if isinstance(error, TransientError) else "unproved"
            self._append(Checked.model_validate({**key, "state": state}))

    def recovering(self, board: Board, how: str, reason: str) -> None:
        """A run is about to reboot a board or to cycle its power."""
        self._append(Recovering(board=board.name, by=self._by, how=how, reason=reason))

    def worked(
        self,
        board: Board,
        runtimes: Iterable[str],
        versions: Mapping[str, str],
        temperature_c: float | None,
        described: Described = NOT_DESCRIBED,
    ) -> None:
        """A board is given back after real work with `runtimes`."""
        proofs = tuple(
            Proof(runtime=name, proved=True, version=versions.get(name, ""))
            for name in sorted(runtimes)
        )
        self._append(
            Worked(
                board=board.name,
                by=self._by,
                identity=identity(board),
                proofs=proofs,
                versions=dict(versions),
                temperature_c=temperature_c,
                described=described,
            )
        )

    def _append(self, entry: Entry) -> None:
        try:
            self._log.append(entry)
        except TransientError as error:
            print(error, file=sys.stderr)
