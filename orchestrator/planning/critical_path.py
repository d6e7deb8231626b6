"""The way to a graph's end: what is behind each step, and what is before a board's first one."""

from __future__ import annotations

import math
from collections.abc import Callable

from orchestrator.planning.graph import Graph, Step


def ranks(graph: Graph, seconds: Callable[[Step], float]) -> dict[str, float]:
    """Each step's own seconds and the longest of what waits for it: the way to the graph's end."""
    found = dict.fromkeys(graph.steps, 0.0)  # until a step's turn, what waits for it alone
    for step in reversed(graph.steps.values()):
        own = found[step.id] = seconds(step) + found[step.id]
        for sources in (step.inputs.values(), step.after):
            for source in sources:
                if own > found.get(source, math.inf):  # a source may not be in the graph
                    found[source] = own
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
        on_board = step.facts.on_board
        own = 0.0 if on_board else seconds(step) + found.get(step.id, math.inf)
        found[step.id] = own
        for sources in (step.inputs.values(), step.after):
            for source in sources:
                if own < found.get(source, math.inf):
                    found[source] = own
                if on_board and graph.steps[source].facts.takes_turns:
                    feeding.add(source)
    longest = max((found[source] for source in feeding), default=0.0)
    return found | dict.fromkeys(feeding, longest)
