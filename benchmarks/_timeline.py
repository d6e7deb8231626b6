"""Where the seconds of a run's boards went, read from its events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from orchestrator.events import Event

CAUSES = ("start", "deploying", "around", "waiting", "computing", "tail")


@dataclass
class Spent:
    """One board's seconds: `computing` is the runtime's own time.

    Attributes:
        start: until its first step there began.
        deploying: bringing and checking artifacts; `late`: what of it came after the board's first
            extraction had begun.
        around: within measure and extract, beyond the runtime's own time.
        waiting: between two steps.
        tail: from its last step to the run's end.
    """

    start: float = 0.0
    deploying: float = 0.0
    around: float = 0.0
    waiting: float = 0.0
    computing: float = 0.0
    tail: float = 0.0
    late: float = 0.0
    gaps: list[tuple[float, str]] = field(default_factory=list)


def spent(events: Iterable[Event], own: Callable[[str], float]) -> dict[str, Spent]:
    """Each board's seconds by cause; they add up to the run's.

    Args:
        own: a step to its runtime's own seconds. Helpers' work counts as waiting: they have no
            steps of their own.
    """
    begun: dict[str, float] = {}
    free: dict[str, float] = {}
    found: dict[str, Spent] = defaultdict(Spent)
    extracting: set[str] = set()  # boards that have begun to
    first = last = 0.0
    for event in events:
        first, last = first or event.at, event.at
        if event.event == "step_started" and event.board:
            begun[event.step] = event.at
            board = found[event.board]
            if event.stage == "extract":
                extracting.add(event.board)
            gap = event.at - free.get(event.board, first)
            if event.board in free:
                board.waiting += gap
                board.gaps.append((gap, event.step))
            else:
                board.start = gap
        elif event.event in ("step_finished", "step_failed") and event.board:
            board = found[event.board]
            took = event.at - begun.pop(event.step, event.at)
            free[event.board] = event.at
            if event.stage == "deploy":
                board.deploying += took
                board.late += took if event.board in extracting else 0.0
            else:
                mine = min(took, own(event.step))
                board.computing += mine
                board.around += took - mine
    for name, board in found.items():
        board.tail = last - free.get(name, last)
    return dict(found)


def table(found: dict[str, Spent]) -> str:
    """A line a board, seconds by cause."""
    lines = ["board      " + "".join(f"{cause:>11}" for cause in CAUSES)]
    for name, board in sorted(found.items()):
        values = (getattr(board, cause) for cause in CAUSES)
        lines.append(f"{name:11}" + "".join(f"{value:11.2f}" for value in values))
    total = [sum(getattr(b, cause) for b in found.values()) / len(found) for cause in CAUSES]
    lines.append("mean       " + "".join(f"{value:11.2f}" for value in total))
    return "\n".join(lines)
