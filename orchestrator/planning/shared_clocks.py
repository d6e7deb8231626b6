"""Steps that share processors, simulated by one clock for all of them.

What runs in a contention domain is slowed down by one factor (`planning/sharing.py`). On a clock
that runs slower by that factor the ends of the steps do not move when another step begins or ends,
so that each step is put into a queue once (Parekh and Gallager, 1993, call it virtual time).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.planning.graph import Step
from orchestrator.planning.sharing import wanted


class Clock:
    """A clock with a queue of ends on it.

    Attributes:
        order: its place among the clocks.
        ends: a heap of (when on this clock, which announcement of the attempt, step, the
            attempt's number, the attempt).
    """

    def __init__(self, order: int) -> None:
        self.order = order
        self.ends: list[tuple[float, int, str, int, Any]] = []
        self._slowdown, self._value, self._since = 1.0, 0.0, 0.0

    def at(self, now: float) -> float:
        """What it shows at second `now` of the simulation."""
        return self._value + (now - self._since) / self._slowdown

    def second(self, value: float) -> float:
        """The second of the simulation at which it will show `value`, at its present pace."""
        return self._since + (value - self._value) * self._slowdown

    def slow(self, now: float, slowdown: float) -> None:
        """From `now` on, each of its seconds takes `slowdown` seconds of the simulation."""
        self._value, self._since, self._slowdown = self.at(now), now, slowdown


class SharedClocks:
    """Who works in each contention domain, and the clocks that follows from.

    Args:
        domains: of each board; this machine's under the empty name.
        processors: by domain; one that is not there is never short of them.

    Attributes:
        clocks: first the simulation's own, then one for each domain of `processors`.
    """

    def __init__(self, domains: Mapping[str, str], processors: Mapping[str, int]) -> None:
        self.clocks = [Clock(order) for order in range(1 + len(processors))]
        self._domains, self._processors = domains, processors
        self._of_domain = dict(zip(processors, self.clocks[1:], strict=True))
        self._wants: dict[str, float] = defaultdict(float)

    def slowdown(self, board: str) -> float:
        """By how much longer all takes beside a board."""
        return self._factor(self._domains[board])

    def _factor(self, domain: str) -> float:
        have = self._processors.get(domain)
        return 1.0 if have is None else max(1.0, self._wants[domain] / have)

    def clock(self, boards: Iterable[str]) -> Clock | None:
        """The clock of a step on these boards; None where they are slowed down differently."""
        if not self._of_domain:
            return self.clocks[0]
        found = {self._of_domain.get(self._domains[board]) for board in boards}
        if len(found) > 1:
            return None
        (clock,) = found
        return clock or self.clocks[0]

    def change(self, step: Step, board: str, sign: int, now: float) -> bool:
        """A step begins (1) or ends (-1) on a board; returns whether that slows others."""
        domain = self._domains[board]
        have = self._processors.get(domain)
        if have is None:
            return False
        before = self._factor(domain)
        self._wants[domain] += sign * wanted(step.all_processors, have)
        after = self._factor(domain)
        if after == before:
            return False
        self._of_domain[domain].slow(now, after)
        return True
