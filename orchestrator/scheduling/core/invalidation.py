"""Which finished steps run again because the store lost their output. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.planning.graph import Graph
from orchestrator.planning.resolving import Resolution


def undone(graph: Graph, resolution: Resolution, finished: Iterable[str]) -> set[str]:
    """Those of the steps `finished` whose output the store does not hold any more.

    What only hangs on a lost input is among them: it is held again as soon as the input is made
    again with the same content. A deploy counts with the artifact that it brought.
    """
    found = set()
    for step_id in finished:
        step = graph.steps.get(step_id)
        if step is None:
            continue
        outputs = graph.sources(step_id) if step.facts.prepares_board else [step_id]
        if not all(resolution.cached(each) for each in outputs):
            found.add(step_id)
    return found
