"""What changes in a graph when boards have said what they are. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from orchestrator.planning.facts import BoardFacts, runtime_identity
from orchestrator.planning.graph import Graph
from orchestrator.specs.inventory import Board


def take_facts(
    graph: Graph,
    boards: Mapping[str, Board],
    facts: Mapping[str, BoardFacts],
    names: Collection[str],
) -> list[str]:
    """Bring a graph up to date with the facts of some boards, who execute what they did before.

    Steps that these change are replaced, so that one that runs stays as it was when it started.
    The graph then equals one that is built from nothing.

    Returns:
        Their ids.
    """
    changed: list[str] = []
    for step in graph.steps.values():
        if step.board in names and step.facts.executes:
            identity = runtime_identity(boards[step.board], step.extra["runtime"], facts)
            if identity != step.params["runtime"]:
                params = step.params | {"runtime": identity}
                graph.steps[step.id] = replace(step, params=params)
                changed.append(step.id)
    return changed
