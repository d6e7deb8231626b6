"""Who has a board for themselves, and who comes next: a fold over the lines that reserve it.

One at a time: a reservation begins when the one before it ends. The fold remembers nothing but its
queue, so lines from before a moment at which the queue was empty say nothing any more.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from orchestrator.store.fleet_entries import Added, Entry, Removed, Reserved, Unreserved


@dataclass(frozen=True)
class Reservation:
    """A board is, or will be, somebody's.

    Attributes:
        by: `ann@lab`.
        begins, ends: Unix seconds; of one that waits, if nobody before it gives the board back.
    """

    by: str
    why: str
    begins: float
    ends: float

    @property
    def words(self) -> str:
        """`reserved by ann@lab until 15:30: calibration`."""
        until = f"reserved by {self.by or 'somebody'} until {clock(self.ends)}"
        return f"{until}: {self.why}" if self.why else until


def reservations(entries: Iterable[Entry], now: float) -> tuple[Reservation, ...]:
    """One board's reservations that have not ended at the Unix time `now`, in their order.

    Args:
        entries: its lines of the fleet log, in order.
    """
    queue: list[Reservation] = []
    for entry in entries:
        match entry:
            case Added() | Removed():
                queue = []
            case Reserved():
                queue = _at(queue, entry.at)
                begins = max(entry.at, queue[-1].ends) if queue else entry.at
                queue.append(Reservation(entry.by, entry.reason, begins, begins + entry.for_s))
            case Unreserved():
                queue = _given_back(_at(queue, entry.at), entry.whose, entry.at)
    return tuple(_at(queue, now))


def holder(queue: Sequence[Reservation], now: float) -> Reservation | None:
    """Whose the board is at the Unix time `now`."""
    return next((each for each in queue if each.begins <= now < each.ends), None)


def clock(at: float) -> str:
    """A time of day, with the date where it is another."""
    moment = time.localtime(at)
    same = moment[:3] == time.localtime()[:3]
    return time.strftime("%H:%M" if same else "%Y-%m-%d %H:%M", moment)


def _at(queue: Sequence[Reservation], now: float) -> list[Reservation]:
    return [each for each in queue if each.ends > now]


def _given_back(queue: list[Reservation], whose: str, at: float) -> list[Reservation]:
    """Without the first of somebody's; those after it move up."""
    place = next((n for n, each in enumerate(queue) if each.by == whose), None)
    if place is None:
        return queue
    left, free = queue[:place], queue[place - 1].ends if place else at
    for each in queue[place + 1 :]:
        begins = max(free, at)
        free = begins + each.ends - each.begins
        left.append(replace(each, begins=begins, ends=free))
    return left
