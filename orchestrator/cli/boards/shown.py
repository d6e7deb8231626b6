"""`farm boards list` and `show`: what is known of the fleet, and who uses it now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from orchestrator.cli.boards.fleet import AT_ONCE, Fleet, Places, reaching, say
from orchestrator.cli.boards.table import SHOWN, board_json, board_page, fleet_table
from orchestrator.errors import FarmError
from orchestrator.fleet.boards.addressing import contact
from orchestrator.specs.inventory import Board


def show_list(places: Places, *, live: bool, as_json: bool) -> int:
    """The whole fleet."""
    fleet = Fleet.of(places)
    holders: dict[str, Any] = {}
    if live:
        holders = _ask_all(places, fleet.inventory.boards)
    if as_json:
        say(
            json.dumps(
                [board_json(b, fleet.standings[b.name], holders) for b in fleet.inventory.boards],
                indent=1,
            )
        )
    else:
        fleet_table(fleet.inventory.boards, fleet.standings, holders)
    return 0


def show_one(places: Places, name: str, *, as_json: bool) -> int:
    """One board."""
    fleet = Fleet.of(places)
    board = fleet.named(name)
    standing = fleet.standings[board.name]
    if as_json:
        say(json.dumps(board_json(board, standing, {}), indent=1))
    else:
        board_page(board, standing, fleet.log.history(board.name, SHOWN))
    return 0


def _ask_all(places: Places, boards: Sequence[Board]) -> dict[str, Any]:
    """Holder of each board's lock: a mapping, or the words why it was not reported."""

    def ask(board: Board) -> Any:
        try:
            with contact(address(board)) as commands:
                return dict(commands.who())
        except FarmError as error:
            return error.message.removeprefix(f"{board.name}: ")

    with reaching(places, "farm boards list") as address:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip([b.name for b in boards], pool.map(ask, boards), strict=True))
