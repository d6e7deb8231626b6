"""How steps that run beside each other slow each other down: pure, on a clock it is given.

A contention domain has so many processors. What runs there at a time wants some of them; when it
wants more than there are, all of it is slower in proportion.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping


def wanted(all_processors: bool, processors: int) -> float:
    """Processors that a step keeps busy: all, or one."""
    return float(processors) if all_processors else 1.0


class Shared:
    """What runs in each domain, and how long each would have run alone until now.

    Args:
        processors: by domain; one that is not there is never short of them.
    """

    def __init__(self, processors: Mapping[str, int]) -> None:
        self._processors = processors
        self._wants: dict[str, dict[Hashable, float]] = {}
        self._alone: dict[Hashable, float] = {}
        self._at: dict[str, float] = {}

    def slowdown(self, domain: str) -> float:
        """By how much longer all there takes now, at least 1."""
        have = self._processors.get(domain)
        total = sum(self._wants.get(domain, {}).values())
        return 1.0 if have is None else max(1.0, total / have)

    def running(self, domain: str) -> tuple[Hashable, ...]:
        """What runs there."""
        return tuple(self._wants.get(domain, ()))

    def start(self, name: Hashable, domain: str, wants: float, now: float) -> None:
        """Something begins."""
        self.advance(domain, now)
        self._wants.setdefault(domain, {})[name] = wants
        self._alone[name] = 0.0

    def end(self, name: Hashable, domain: str, now: float) -> float:
        """Something ends; returns the seconds that it would have taken alone."""
        self.advance(domain, now)
        self._wants.get(domain, {}).pop(name, None)
        return self._alone.pop(name, 0.0)

    def alone(self, name: Hashable, domain: str, now: float) -> float:
        """Seconds that something would have run alone until now."""
        self.advance(domain, now)
        return self._alone.get(name, 0.0)

    def advance(self, domain: str, now: float) -> None:
        """Time passes."""
        passed = max(0.0, now - self._at.get(domain, now)) / self.slowdown(domain)
        self._at[domain] = now
        for name in self._wants.get(domain, ()):
            self._alone[name] += passed
