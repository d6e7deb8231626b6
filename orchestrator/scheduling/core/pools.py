"""Pools of boards: who takes over a waiting step, and who helps with a long extraction. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from orchestrator.planning.graph import Step
from orchestrator.scheduling.core.boards import BoardTable
from orchestrator.scheduling.core.steps import Steps


def usable(step: Step, board: str, steps: Steps, boards: BoardTable) -> bool:
    """Whether a board of a step's pool may be given it."""
    refused = boards.refusal(board, step.extra.get("runtime")) is not None
    return not refused and board not in steps.record(step.id).failed_on


def rebound(
    waiting: Iterable[Step],
    *,
    startable: Callable[[Step], bool],
    next_up: Callable[[Step], bool],
    usable: Callable[[Step, str], bool],
    idle: Callable[[str], bool],
) -> dict[str, str]:
    """Steps that another board of their pool should do: theirs is out of use, or others are free.

    A free board takes the first step that could start there now, of those whose own board would
    not do them next; a board out of use passes its steps on to all others in turn.

    Args:
        waiting: steps on boards that wait, in the order in which they matter.
        startable: whether all that a step needs is there, apart from a board.
        next_up: whether its own board is free and would do it next.
        usable: whether a board may be given a step.
        idle: whether a board is connected with nothing to do, not even waiting steps of its own.

    Returns:
        step id to its new board.
    """
    moved: dict[str, str] = {}
    taken: set[str] = set()
    turns: dict[tuple[str, ...], int] = {}
    for step in waiting:
        if len(step.pool) == 1:
            continue
        if not usable(step, step.board):
            fit = [name for name in step.pool if usable(step, name)]
            if fit:
                turn = turns[step.pool] = turns.get(step.pool, -1) + 1
                moved[step.id] = fit[turn % len(fit)]
        elif startable(step) and not next_up(step):
            free = (n for n in step.pool if n not in taken and usable(step, n) and idle(n))
            name = next(free, None)
            if name is not None:
                taken.add(name)
                moved[step.id] = name
    return moved


def wanted_helpers(
    step: Step, usable: Callable[[Step, str], bool], spares: Sequence[str] = ()
) -> list[str]:
    """Boards that may help with a step, besides the one that leads it: its pool's come first."""
    if not step.divisible:
        return []
    names = dict.fromkeys((*step.pool, *spares))
    return [name for name in names if name != step.board and usable(step, name)]
