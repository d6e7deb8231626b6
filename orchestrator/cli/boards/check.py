"""`farm boards check`: a tiny real inference on each board."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from orchestrator.cli.boards.fleet import AT_ONCE, Fleet, Places, reaching, say
from orchestrator.cli.boards.table import health_json, health_lines
from orchestrator.errors import FarmError
from orchestrator.fleet.boards.board import Address
from orchestrator.fleet.boards.health import Health, check
from orchestrator.fleet.boards.person import person
from orchestrator.planning.facts import board_facts
from orchestrator.preflight.caches import FactsFile
from orchestrator.specs.inventory import Board, Inventory
from orchestrator.toolchains import toolchain, toolchain_names


def check_boards(
    places: Places, names: Sequence[str], *, every: float | None, as_json: bool
) -> int:
    """Check boards, once or periodically; 1 unless all are ready.

    Args:
        names: of boards, or `all`.
        every: seconds from one check to the next, None for a single one.
    """
    while every is not None:
        began = time.monotonic()
        _check_once(places, names, as_json=as_json)
        time.sleep(max(0.0, began + every - time.monotonic()))
    return _check_once(places, names, as_json=as_json)


def _check_once(places: Places, asked: Sequence[str], *, as_json: bool) -> int:
    fleet = Fleet.of(places, writes=True)
    everyone = "all" in asked
    names = [b.name for b in fleet.inventory.boards] if everyone else asked
    boards = [fleet.named(name) for name in dict.fromkeys(names)]
    found: dict[str, Health] = {}
    with reaching(places, "farm boards check") as address:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            toolkits = toolkits_of(fleet.inventory, boards)
            checks = [
                (board, pool.submit(checked, board, address, (), toolkits[board.name]))
                for board in boards
            ]
            for board, future in checks:
                found[board.name] = health = future.result()
                fleet.log.append(health.entry(board, person()))
                if health.facts is not None:  # the next plan is for the board as it is now
                    facts = board_facts(dataclasses.asdict(health.facts))
                    FactsFile(places.state).save([(board, facts)])
                if not as_json:
                    for line in health_lines(board, health):
                        say(line)
    if as_json:
        say(json.dumps({name: health_json(health) for name, health in found.items()}, indent=1))
    return 0 if all(health.state == "ready" for health in found.values()) else 1


def toolkits_of(inventory: Inventory, boards: Iterable[Board]) -> dict[str, str]:
    """What makes each board's files on this machine, with its version; empty where nothing does."""
    found: dict[str, str] = {}
    for board in boards:
        name = board.toolchain_for("auto")
        found[board.name] = ""
        if board.executed_by == "board" and name in toolchain_names():
            options = inventory.toolchains.get(name)
            try:
                chain = toolchain(name, options.to_options() if options else None)
                missing: tuple[str, ...] = getattr(chain, "missing", tuple)()
                has_tool = bool(chain.capabilities.needs) and not missing
                found[board.name] = chain.version() if has_tool else ""
            except FarmError:  # `farm doctor` says what is wrong with it
                continue
    return found


def checked(
    board: Board,
    address: Callable[[Board], Address],
    also: Iterable[str] = (),
    toolkit: str = "",
) -> Health:
    """Check a board, an emulated one that does not start included."""
    try:
        place = address(board)
    except FarmError as error:
        return Health("unreachable", error.message, error.hint)
    return check(board, place, also=also, toolkit=toolkit)
