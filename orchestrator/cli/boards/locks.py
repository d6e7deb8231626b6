"""`farm boards who`, `release` and `wipe`: one board's lock, and farm's files on it."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.cli.boards.fleet import Fleet, Places, printed, reaching, say
from orchestrator.errors import UserError
from orchestrator.fleet.boards.addressing import contact
from orchestrator.fleet.boards.person import person
from orchestrator.store.fleet_entries import Released, Wiped


def who(places: Places, name: str, *, as_json: bool) -> int:
    """Who holds the board."""
    board = Fleet.of(places).named(name)
    with reaching(places, "farm boards who") as address, contact(address(board)) as commands:
        holder = dict(commands.who())
    if as_json:
        say(json.dumps(holder, indent=1, sort_keys=True))
    elif not holder:
        say(f"{board.name} is free")
    else:
        say(f"{board.name} is held by {_holder(holder)}")
    return 0


def release(places: Places, name: str, reason: str) -> int:
    """Take the lock away."""
    reason = printed(reason)
    if not reason:
        raise UserError("the reason is empty", "its holder will read it: --reason 'board is mine'")
    fleet = Fleet.of(places, writes=True)
    board = fleet.named(name)
    doing = "farm boards release"
    with reaching(places, doing) as address, contact(address(board)) as commands:
        holder = dict(commands.release(reason))
    fleet.log.append(Released(board=board.name, by=person(), reason=reason, holder=holder))
    say(f"{board.name}: taken from {_holder(holder)}" if holder else f"{board.name} was free")
    return 0


def wipe(places: Places, name: str) -> int:
    """Remove farm's files."""
    fleet = Fleet.of(places, writes=True)
    board = fleet.named(name)
    with reaching(places, "farm boards wipe") as address, contact(address(board)) as commands:
        gone = commands.wipe()
    fleet.log.append(Wiped(board=board.name, by=person(), files=len(gone)))
    say(f"{board.name}: removed {', '.join(gone) or 'nothing'} from {board.workdir}")
    return 0


def _holder(holder: dict[str, Any]) -> str:
    pids = holder.get("pids")
    pid = f", pid {pids[0][0]}" if isinstance(pids, list) and pids and pids[0] else ""
    left = holder.get("lease_left_s")
    lease = f"; its lease ends in {left:.0f} s" if isinstance(left, (int, float)) else ""
    return (
        f"{holder.get('owner') or 'somebody who left no name'} since "
        f"{holder.get('since', 'an unknown time')} ({holder.get('reason') or 'no reason given'})"
        f"{pid}{lease}"
    )
