"""How long what is left may take: rates seen before where there are any, else plain guesses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from orchestrator.planning.graph import ON_BOARD, Graph, Step

# Seconds a unit (an image, or a whole step) on a small 2-core host; replaced by what was seen.
GUESSES: Mapping[str, float] = {
    "images": 0.001,
    "calibrate": 0.03,
    "quantize": 4.0,
    "convert": 1.5,
    "deploy": 1.0,
    "measure": 0.02,
    "extract": 0.01,
    "parity": 1.0,
    "score": 4.0,
    "compare": 2.0,
}
START_S = 8.0


@dataclass(frozen=True)
class Guess:
    """Seconds, and what they rest on."""

    seconds: float
    source: str


def estimate(
    steps: Iterable[Step], domains: Mapping[str, str], rates: Mapping[str, float]
) -> Guess:
    """Time for `steps`: each contention domain works through its own, the busiest one decides.

    Args:
        steps: what is to do.
        domains: board name to contention domain; the head's under the empty name.
        rates: `stage board` to seconds a unit, from earlier runs.
    """
    busy: dict[str, float] = {}
    seen = guessed = 0
    for step in steps:
        known = rate_name(step) in rates
        seen, guessed = seen + known, guessed + (not known)
        domain = domains[step.board]
        busy[domain] = busy.get(domain, 0.0) + expected(step, rates)
    if not busy:
        return Guess(0.0, "nothing to do")
    source = f"{seen} steps by rates seen before, {guessed} guessed"
    return Guess(START_S + max(busy.values()), source)


def expected(step: Step, rates: Mapping[str, float]) -> float:
    """Seconds that a step may take."""
    return rates.get(rate_name(step), GUESSES[step.stage]) * step.units


def rate_name(step: Step) -> str:
    """Under which name a step's rate is remembered."""
    return f"{step.stage} {step.board or 'head'}"


def ranks(graph: Graph, seconds: Callable[[Step], float]) -> dict[str, float]:
    """Each step's own seconds and the longest of what waits for it: the way to the graph's end."""
    behind: dict[str, float] = {}
    for step in reversed(graph.steps.values()):
        own = seconds(step) + behind.get(step.id, 0.0)
        for source in graph.sources(step.id):
            behind[source] = max(behind.get(source, 0.0), own)
    return {s.id: seconds(s) + behind.get(s.id, 0.0) for s in graph.steps.values()}


def leads(graph: Graph, seconds: Callable[[Step], float]) -> dict[str, float]:
    """Seconds of work on the head before a step lets a board begin; infinite where it does not.

    0 for steps on boards.
    """
    found: dict[str, float] = {}
    for step in reversed(graph.steps.values()):
        own = 0.0 if step.stage in ON_BOARD else seconds(step) + found.get(step.id, math.inf)
        found[step.id] = own
        for source in graph.sources(step.id):
            found[source] = min(found.get(source, math.inf), own)
    return found
