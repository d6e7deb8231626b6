"""What the commands of `farm boards` share: the inventory, its log, and the way to the boards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.fleet.boards.board import Address
    from orchestrator.specs.inventory import Board, Inventory
    from orchestrator.store.fleet_log import FleetLog, Standing

AT_ONCE = 8


@dataclass(frozen=True)
class Places:
    """Where the fleet is written down: the inventory's file, and the folders of state and runs."""

    inventory: Path
    state: Path
    runs: Path

    @classmethod
    def named(cls, inventory: str, state: str, runs: str) -> Places:
        """As they were typed."""
        return cls(Path(inventory), Path(state), Path(runs))

    def check_log(self) -> None:
        """Refuse a folder of runs that the fleet's log cannot be written in.

        Raises:
            UserError: it cannot be used.
        """
        from orchestrator.store.places import check_writable

        check_writable(self.runs, "--runs")


@dataclass(frozen=True)
class Fleet:
    """The inventory and its log."""

    inventory: Inventory
    log: FleetLog
    standings: dict[str, Standing]

    @classmethod
    def of(cls, places: Places, *, writes: bool = False) -> Fleet:
        """Read both.

        Args:
            writes: whether the log will be written.

        Raises:
            UserError: the inventory is missing or wrong, or the log cannot be written.
        """
        from orchestrator.fleet.boards.entry import identity
        from orchestrator.specs.inventory import load_inventory
        from orchestrator.store.fleet_log import FleetLog

        inventory = load_inventory(places.inventory)
        log = FleetLog(places.runs)
        if writes:
            places.check_log()
        ids = {board.name: identity(board) for board in inventory.boards}
        return cls(inventory, log, log.standings(ids))

    def named(self, name: str) -> Board:
        """The board of that name.

        Raises:
            UserError: there is none; names the nearest.
        """
        from orchestrator.errors import UserError
        from orchestrator.specs.yamlfile import nearest

        board = self.inventory.board(name)
        if board is None:
            names = [each.name for each in self.inventory.boards]
            raise UserError(
                f"there is no board {printed(name)!r} in {self.inventory.source.file}"
                + nearest(name, names)
            )
        return board


@contextmanager
def reaching(places: Places, doing: str) -> Iterator[Callable[[Board], Address]]:
    """Addresses of boards for the length of a `with`, for which emulated ones live."""
    from orchestrator.fleet.boards.addressing import address_of, me
    from orchestrator.fleet.emulated.boards import EmulatedFleet

    with EmulatedFleet(places.state / "emulated") as emulated:
        yield lambda board: address_of(
            board, owner=me(doing), state=places.state, emulated=emulated
        )


def printed(text: str) -> str:
    """Text from a board or a log as one line that no terminal acts upon."""
    from orchestrator.fleet.transport.untrusted import headline

    return headline(text, 300)


def say(text: str = "") -> None:
    """Print a line now."""
    print(text, flush=True)
