"""Which ready steps start now: pure, so that its promises can be tested without a board.

- A board does one thing at a time.
- `measure` has its contention domain for itself: nothing else of that domain runs meanwhile. While
  one waits, nothing starts there whose turn comes later, and no extraction or scoring at all.
- Steps on the head share this host's domain, as many at a time as it has processors; of those that
  make images one, since each has all the processes that make them. Beside them,
  as many emulated boards extract: more would only slow each other down, and no row would end
  before the last. Only the last of them share what there is. A board that would help with
  another's extraction comes after all that have work of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.planning.critical_path import Lead
from orchestrator.planning.graph import HEAD_DOMAIN
from orchestrator.planning.stage_facts import STAGE_FACTS, StageFacts

_ALL = 1 << 20
_PLACE = {name: place for place, name in enumerate(STAGE_FACTS)}


@dataclass(slots=True)
class Candidate:
    """A step as the choice sees it.

    Attributes:
        board: empty for the head.
        priority: as the matrix says; a higher one comes first.
        lead: see `leads`: what feeds boards soonest comes first, else all quantizing would come
            before the first converting.
        rank: seconds from this step's start to the end of what waits for it, at the least: of
            equals, the head of the critical path comes first.
        helps: whether it is a board that would help with another board's step.
        all_processors: whether it keeps all processors of its domain busy.
        facts: what is known of its stage.
        extracts_here: whether it extracts on the head's processors.
        order: what comes first is smallest.
    """

    id: str
    stage: str
    board: str
    domain: str
    units: int = 1
    priority: int = 0
    lead: Lead = (0.0, 0.0)
    rank: float = 0.0
    helps: bool = False
    all_processors: bool = False
    facts: StageFacts = field(init=False)
    extracts_here: bool = field(init=False)
    order: tuple[bool, float, Lead, float, int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.facts = STAGE_FACTS[self.stage]
        self.extracts_here = self.facts.shares_processors and self.domain == HEAD_DOMAIN
        place = _PLACE[self.stage]
        self.order = (self.helps, -self.priority, self.lead, -self.rank, place, -self.units)


class Load:
    """What runs, counted, so that no choice goes through all of it.

    Attributes:
        boards, domains: how many steps and helpers each has.
        measured: how many measurements each domain has.
        on_head: steps that no board does.
        extracting: extractions on the head's processors, helpers included; `led`: without them;
            one that keeps all of them busy counts as more than there can be.
        turns: steps that use all processes of the head.
    """

    def __init__(self, running: Iterable[Candidate] = ()) -> None:
        self.boards: dict[str, int] = {}
        self.domains: dict[str, int] = {}
        self.measured: dict[str, int] = {}
        self.on_head = self.extracting = self.led = self.turns = 0
        for step in running:
            self.add(step)

    def add(self, step: Candidate) -> None:
        """A step or a helper begins."""
        self._count(step, 1)

    def remove(self, step: Candidate) -> None:
        """It has ended."""
        self._count(step, -1)

    def _count(self, step: Candidate, change: int) -> None:
        self.domains[step.domain] = self.domains.get(step.domain, 0) + change
        if step.board:
            self.boards[step.board] = self.boards.get(step.board, 0) + change
        else:
            self.on_head += change
        if step.facts.alone:
            self.measured[step.domain] = self.measured.get(step.domain, 0) + change
        if step.facts.takes_turns:
            self.turns += change
        if step.extracts_here:
            self.extracting += change * (_ALL if step.all_processors else 1)
            self.led += 0 if step.helps else change


_NOTHING = Load()


def choose(
    ready: Iterable[Candidate], running: Load, head_slots: int, to_come: int = 0
) -> list[Candidate]:
    """The candidates to start now.

    Args:
        ready: steps all of whose inputs are there and whose board is connected, in plan order.
        running: what is under way.
        head_slots: how many steps may run on the head at a time.
        to_come: extractions on the head's processors that wait, ready or not.
    """
    waiting = sorted(ready, key=_order)
    if not waiting:
        return []
    at_a_time: int | None = None  # worked out when a step needs it, as is the next one
    measuring: set[str] | None = None
    held: set[str] = set()  # domains where a measurement waits for what runs
    chosen: list[Candidate] = []
    new = Load() if len(waiting) > 1 else _NOTHING
    for step in waiting:
        facts, domain = step.facts, step.domain
        if running.measured.get(domain) or new.measured.get(domain) or domain in held:
            continue
        if step.board:
            if running.boards.get(step.board) or new.boards.get(step.board):
                continue
        elif running.on_head + new.on_head >= head_slots:
            continue
        if facts.takes_turns and (running.turns or new.turns):
            continue
        if facts.alone and (running.domains.get(domain) or new.domains.get(domain)):
            held.add(domain)
            continue
        if step.extracts_here:
            if at_a_time is None:
                at_a_time = _extractions(waiting, running, head_slots, to_come)
            limit = head_slots if step.helps else at_a_time
            if running.extracting + new.extracting >= limit:
                continue
        if facts.yields:
            if measuring is None:
                measuring = {each.domain for each in waiting if each.facts.alone}
            if domain in measuring:
                continue
        chosen.append(step)
        if len(waiting) > 1:
            new.add(step)
    return chosen


def _extractions(waiting: list[Candidate], running: Load, head_slots: int, to_come: int) -> int:
    """How many extractions may be under way on the head's processors.

    The last ones share: of three on two processors, one would else be left to itself at the end.
    """
    own = len([step for step in waiting if step.extracts_here and not step.helps])
    left = running.led + max(to_come, own)
    return max(head_slots, left) if left < 2 * head_slots else head_slots


def _order(step: Candidate) -> tuple[bool, float, Lead, float, int, int]:
    return step.order
