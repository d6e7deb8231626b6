"""The way to a graph's end: what is behind each step, and what is before a board's first one."""

from __future__ import annotations

import math
from collections.abc import Callable

from orchestrator.planning.graph import Graph, Step


def ranks(graph: Graph, seconds: Callable[[Step], float]) -> dict[str, float]:
    """Each step's own seconds and the longest of what waits for it: the way to the graph's end."""
    behind: dict[str, float] = {}
    found = dict.fromkeys(graph.steps, 0.0)
    for step in reversed(graph.steps.values()):
        own = found[step.id] = seconds(step) + behind.get(step.id, 0.0)
        for source in graph.sources(step.id):
            behind[source] = max(behind.get(source, 0.0), own)
    return found


def leads(graph: Graph, seconds: Callable[[Step], float]) -> dict[str, float]:
    """Seconds of work on the head before a step lets a board begin; infinite where it does not.

    0 for steps on boards. Boards need the images of all roles, so these count alike, however many
    they are: the probes' come first then, which have the longest way behind them, and which a
    board is measured with. A measurement that had to wait for them behind the gallery's would find
    others extracting where it has to be alone.
    """
    found: dict[str, float] = {}
    feeding: set[str] = set()
    for step in reversed(graph.steps.values()):
        own = 0.0 if step.facts.on_board else seconds(step) + found.get(step.id, math.inf)
        found[step.id] = own
        for source in graph.sources(step.id):
            found[source] = min(found.get(source, math.inf), own)
            if step.facts.on_board and graph.steps[source].facts.takes_turns:
                feeding.add(source)
    longest = max((found[source] for source in feeding), default=0.0)
    return found | dict.fromkeys(feeding, longest)
