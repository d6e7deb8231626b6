"""The way to a graph's end: what is behind each step, and what is before a board's first one."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from orchestrator.planning.graph import Graph, Step

Lead = tuple[float, float]
"""Seconds until the turn of the first board that waits for a step, 0 for boards with processors of
their own; and seconds of work on the head before it, the step's own included. 0 for steps on
boards, both infinite where no board waits."""


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


def leads(
    graph: Graph, seconds: Callable[[Step], float], sharing: Collection[str] = ()
) -> dict[str, Lead]:
    """When some board can begin, as far as it depends on a step.

    Boards that share the head's processors take turns, row by row: what the first row needs is
    made before all that would only wait for its turn.

    Boards need the images of all roles, so the work on these counts alike, however many they are:
    the probes' come first then, which have the longest way behind them, and which a board is
    measured with. A measurement that had to wait for them behind the gallery's would find others
    extracting where it has to be alone.

    Args:
        graph: of a plan.
        seconds: how long a step takes alone.
        sharing: boards that share the head's processors.
    """
    found = dict.fromkeys(graph.steps, math.inf)  # until a step's turn, what waits for it alone
    feeding: set[str] = set()
    for step in reversed(graph.steps.values()):
        on_board = step.facts.on_board
        own = found[step.id] = 0.0 if on_board else seconds(step) + found[step.id]
        for sources in (step.inputs.values(), step.after):
            for source in sources:
                if own < found.get(source, 0.0):  # a source may not be in the graph
                    found[source] = own
                if on_board and graph.steps[source].facts.takes_turns:
                    feeding.add(source)
    longest = max((found[source] for source in feeding), default=0.0)
    found |= dict.fromkeys(feeding, longest)
    if not sharing:
        return {
            step_id: (0.0 if lead < math.inf else lead, lead) for step_id, lead in found.items()
        }
    turns = _turns(graph, seconds, sharing)
    return {step_id: (turns[step_id], lead) for step_id, lead in found.items()}


def _turns(
    graph: Graph, seconds: Callable[[Step], float], sharing: Collection[str]
) -> dict[str, float]:
    """Seconds until the turn of the first board that waits for each step, infinite where none."""
    turns = dict.fromkeys(graph.steps, math.inf)
    passed = 0.0
    for step in graph.steps.values():
        if step.board in sharing and step.facts.executes:
            turns[step.id] = passed
            passed += seconds(step)
    for step in reversed(graph.steps.values()):
        turn = turns[step.id]
        if turn == math.inf and step.facts.on_board:
            turn = turns[step.id] = 0.0
        for sources in (step.inputs.values(), step.after):
            for source in sources:
                if turn < turns.get(source, 0.0):
                    turns[source] = turn
    return turns
