"""`farm boards remove`, `drain`, `reserve` and their opposites: inventory and fleet log."""

from __future__ import annotations

import sys

from orchestrator.cli.boards.fleet import Fleet, Places, printed, say
from orchestrator.fleet.boards.person import person
from orchestrator.specs.inventory_edit import remove_board
from orchestrator.store.fleet_entries import Drained, Removed, Reserved, Undrained, Unreserved
from orchestrator.store.fleet_log import FleetLog
from orchestrator.store.reservations import clock


def remove(places: Places, name: str) -> int:
    """Take an entry out."""
    places.check_log()
    remove_board(places.inventory, name)
    FleetLog(places.runs).append(Removed(board=name, by=person()))
    say(f"{name}: taken out of {places.inventory}")
    return 0


def drain(places: Places, name: str, reason: str) -> int:
    """No new work."""
    fleet = Fleet.of(places, writes=True)
    board = fleet.named(name)
    fleet.log.append(Drained(board=board.name, by=person(), reason=printed(reason)))
    say(f"{board.name}: gets no new work until `farm boards undrain {board.name}`")
    return 0


def undrain(places: Places, name: str) -> int:
    """Work again."""
    fleet = Fleet.of(places, writes=True)
    board = fleet.named(name)
    if not fleet.standings[board.name].drained:
        print(f"farm: {board.name} was not drained", file=sys.stderr)
        return 0
    fleet.log.append(Undrained(board=board.name, by=person()))
    say(f"{board.name}: gets work again")
    return 0


def reserve(places: Places, name: str, seconds: float, why: str) -> int:
    """For oneself, after whoever has reserved it before."""
    fleet = Fleet.of(places, writes=True)
    board = fleet.named(name)
    fleet.log.append(Reserved(board=board.name, by=person(), for_s=seconds, reason=printed(why)))
    queue = Fleet.of(places).standings[board.name].reserved
    mine = queue[-1]
    after = f", after {queue[-2].by}" if len(queue) > 1 else ""
    when = f"from {clock(mine.begins)} to {clock(mine.ends)}"
    say(f"{board.name}: reserved for {mine.by} {when}{after}")
    say(f"runs of others end their step there, then wait; `farm boards unreserve {board.name}`")
    return 0


def unreserve(places: Places, name: str, whose: str) -> int:
    """Given back before its time."""
    fleet = Fleet.of(places, writes=True)
    board = fleet.named(name)
    queue, who = fleet.standings[board.name].reserved, whose or person()
    if all(each.by != who for each in queue):
        known = ", ".join(dict.fromkeys(each.by for each in queue)) or "nobody"
        print(f"farm: {board.name} is not reserved by {who}; by {known}", file=sys.stderr)
        return 0
    fleet.log.append(Unreserved(board=board.name, by=person(), whose=who))
    say(f"{board.name}: no longer reserved by {who}")
    return 0
