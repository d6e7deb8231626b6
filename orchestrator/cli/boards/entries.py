"""`farm boards remove`, `drain` and `undrain`: the inventory and the fleet's log."""

from __future__ import annotations

import sys

from orchestrator.cli.boards.fleet import Fleet, Places, by, printed, say
from orchestrator.specs.inventory_edit import remove_board
from orchestrator.store.fleet_entries import Drained, Removed, Undrained
from orchestrator.store.fleet_log import FleetLog


def remove(places: Places, name: str) -> int:
    """Take an entry out."""
    places.check_log()
    remove_board(places.inventory, name)
    FleetLog(places.runs).append(Removed(board=name, by=by()))
    say(f"{name}: taken out of {places.inventory}")
    return 0


def drain(places: Places, name: str, reason: str) -> int:
    """No new work."""
    fleet = Fleet.of(places, writes=True)
    board = fleet.named(name)
    fleet.log.append(Drained(board=board.name, by=by(), reason=printed(reason)))
    say(f"{board.name}: gets no new work until `farm boards undrain {board.name}`")
    return 0


def undrain(places: Places, name: str) -> int:
    """Work again."""
    fleet = Fleet.of(places, writes=True)
    board = fleet.named(name)
    if not fleet.standings[board.name].drained:
        print(f"farm: {board.name} was not drained", file=sys.stderr)
        return 0
    fleet.log.append(Undrained(board=board.name, by=by()))
    say(f"{board.name}: gets work again")
    return 0
