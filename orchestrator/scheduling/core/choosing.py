"""Which ready steps start now: pure, so that its promises can be tested without a board.

- A board does one thing at a time.
- `measure` has its contention domain for itself: nothing else of that domain runs meanwhile, and
  while one waits, no new extraction or scoring starts there that would keep it waiting.
- Steps on the head share this host's domain, as many at a time as it has processors; of those that
  make images one, since each has all the processes that make them. Beside them,
  as many emulated boards extract: more would only slow each other down, and no row would end
  before the last. Only the last of them share what there is. A board that would help with
  another's extraction comes after all that have work of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.planning.graph import HEAD_DOMAIN
from orchestrator.planning.stage_facts import STAGE_FACTS

_PLACE = {name: place for place, name in enumerate(STAGE_FACTS)}


@dataclass(frozen=True)
class Candidate:
    """A step as the choice sees it.

    Attributes:
        board: empty for the head.
        priority: as the matrix says; a higher one comes first.
        lead: seconds of work on the head, this step's own included, before some board gets
            something to do: what feeds boards soonest comes first, else all quantizing would come
            before the first converting.
        rank: seconds from this step's start to the end of what waits for it, at the least: of
            equals, the head of the critical path comes first.
        helps: whether it is a board that would help with another board's step.
    """

    id: str
    stage: str
    board: str
    domain: str
    units: int = 1
    priority: int = 0
    lead: float = 0.0
    rank: float = 0.0
    helps: bool = False


def order(step: Candidate) -> tuple[bool, float, float, float, int, int]:
    """What comes first is smallest."""
    return (step.helps, -step.priority, step.lead, -step.rank, _PLACE[step.stage], -step.units)


def extracts_here(step: Candidate) -> bool:
    """Whether a step extracts on the head's processors."""
    return STAGE_FACTS[step.stage].shares_processors and step.domain == HEAD_DOMAIN


def choose(
    ready: Iterable[Candidate], running: Iterable[Candidate], head_slots: int, to_come: int = 0
) -> list[Candidate]:
    """The candidates to start now.

    Args:
        ready: steps all of whose inputs are there and whose board is connected, in plan order.
        running: steps under way.
        head_slots: how many steps may run on the head at a time.
        to_come: extractions on the head's processors that wait, ready or not.
    """
    waiting = sorted(ready, key=order)
    boards: set[str] = set()
    used: set[str] = set()
    measured: set[str] = set()
    on_head = extracting = led = turns = 0

    def take(step: Candidate) -> None:
        nonlocal on_head, extracting, led, turns
        extracting += extracts_here(step)
        led += extracts_here(step) and not step.helps
        turns += STAGE_FACTS[step.stage].takes_turns
        used.add(step.domain)
        if step.board:
            boards.add(step.board)
        else:
            on_head += 1
        if STAGE_FACTS[step.stage].alone:
            measured.add(step.domain)

    for step in running:
        take(step)
    # The last ones share: of three on two processors, one would else be left to itself at the end.
    own = sum(extracts_here(step) and not step.helps for step in waiting)
    left = led + max(to_come, own)
    at_a_time = max(head_slots, left) if left < 2 * head_slots else head_slots
    chosen: list[Candidate] = []
    measuring = {step.domain for step in waiting if STAGE_FACTS[step.stage].alone}
    for step in waiting:
        if step.domain in measured:
            continue
        if step.board in boards if step.board else on_head >= head_slots:
            continue
        if STAGE_FACTS[step.stage].takes_turns and turns:
            continue
        if STAGE_FACTS[step.stage].alone and step.domain in used:
            continue
        if extracts_here(step) and extracting >= (head_slots if step.helps else at_a_time):
            continue
        if STAGE_FACTS[step.stage].yields and step.domain in measuring:
            continue
        take(step)
        chosen.append(step)
    return chosen
