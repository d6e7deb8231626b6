"""Emulated boards outside a step's pool that may help with its extraction. Pure.

What an emulated board executes, this host executes, whatever kind of board it stands in for. So an
emulated board without work of its own can compute for another one that runs the same runtime with
the same options. It still has to compute features that are equal bit for bit first.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from orchestrator.hashing import digest
from orchestrator.planning.facts import runtime_options
from orchestrator.planning.graph import HEAD_DOMAIN, Step
from orchestrator.specs.inventory import Board

ON_THIS_HOST = ("twin", "emulated")
"""What executes an encoder that this host computes."""


def spares(steps: Iterable[Step], boards: Mapping[str, Board]) -> dict[str, tuple[str, ...]]:
    """Step id to the emulated boards that may help with it, its own among them.

    A real board gets none, and a board that is a simulator's neither.
    """
    alike: dict[str, dict[Hashable, tuple[str, ...]]] = {}
    found: dict[str, tuple[str, ...]] = {}
    for step in steps:
        board = boards.get(step.board)
        if board is None or not step.divisible:
            continue
        if step.executed_by not in ON_THIS_HOST or not _plays_here(board):
            continue
        runtime = step.extra["runtime"]
        groups = alike.setdefault(runtime, {})
        if not groups:
            for name, each in boards.items():
                if _plays_here(each):
                    group = _setting(each, runtime)
                    groups[group] = (*groups.get(group, ()), name)
        found[step.id] = groups[_setting(board, runtime)]
    return found


def _plays_here(board: Board) -> bool:
    return board.emulated and board.contention_domain == HEAD_DOMAIN


def _setting(board: Board, runtime: str) -> Hashable:
    return board.machine, digest(runtime_options(board, runtime))
