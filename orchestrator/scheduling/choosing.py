"""Which ready steps start now: pure, so that its promises can be tested without a board.

- A board does one thing at a time.
- `measure` has its contention domain for itself: nothing else of that domain runs meanwhile, and
  while one waits, no new extraction or scoring starts there that would keep it waiting.
- Steps on the head share this host's domain, as many at a time as it has cores.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HEAD_DOMAIN = "this-host"
# What others wait for comes first; long extractions and scoring fill the rest.
ORDER = (
    "images",
    "calibrate",
    "quantize",
    "convert",
    "deploy",
    "measure",
    "extract",
    "parity",
    "score",
    "compare",
)
YIELDING = frozenset({"extract", "parity", "score", "compare"})


@dataclass(frozen=True)
class Candidate:
    """A step as the choice sees it. `board` is empty for the head."""

    id: str
    stage: str
    board: str
    domain: str
    units: int = 1


def choose(
    ready: Iterable[Candidate], running: Iterable[Candidate], head_slots: int
) -> list[Candidate]:
    """The candidates to start now.

    Args:
        ready: steps all of whose inputs are there and whose board is connected, in plan order.
        running: steps under way.
        head_slots: how many steps may run on the head at a time.
    """
    waiting = sorted(ready, key=lambda step: (ORDER.index(step.stage), -step.units))
    under_way = list(running)
    chosen: list[Candidate] = []
    measuring = {step.domain for step in waiting if step.stage == "measure"}
    for step in waiting:
        now = under_way + chosen
        here = [other for other in now if other.domain == step.domain]
        if any(other.stage == "measure" for other in here):
            continue
        if step.board:
            if any(other.board == step.board for other in now):
                continue
        elif sum(not other.board for other in now) >= head_slots:
            continue
        if step.stage == "measure" and here:
            continue
        if step.stage in YIELDING and step.domain in measuring:
            continue
        chosen.append(step)
    return chosen
