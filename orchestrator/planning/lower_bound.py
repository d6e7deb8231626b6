"""How long a graph takes at the least, whatever the schedule. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from orchestrator.planning.critical_path import ranks
from orchestrator.planning.graph import HEAD_DOMAIN, Graph, Step
from orchestrator.planning.sharing import wanted


def pool_name(pool: tuple[str, ...]) -> str:
    """A pool in a word: its boards, shortened."""
    if len(pool) < 2:
        return "".join(pool)
    return f"{pool[0]} and {len(pool) - 1} more"


def lower_bound(
    graph: Graph,
    seconds: Callable[[Step, str], float],
    head_slots: int,
    domains: Mapping[str, str],
    processors: Mapping[str, int],
) -> tuple[float, str]:
    """The shortest that any schedule of a graph can be.

    Args:
        graph: without deploys.
        seconds: a step on a board (empty: the head) to what it takes.
        head_slots: steps on the head at a time.
        domains: board to contention domain.
        processors: of each contention domain whose steps slow each other down.

    Returns:
        Seconds, and what makes it so: the longest of the critical path, each pool's work over all
        its boards, the head's over its slots, and each domain's work over its processors.
    """

    def least(step: Step) -> float:
        if not step.pool:
            return seconds(step, "")
        paces = [1 / max(1e-9, seconds(step, name)) for name in step.pool]
        return 1 / (sum(paces) if step.divisible else max(paces))

    path = max(ranks(graph, least).values(), default=0.0)
    work: dict[tuple[str, ...], float] = defaultdict(float)
    for step in graph.steps.values():
        names = step.pool or ("",)
        work[step.pool] += min(seconds(step, name) for name in names)
    loads = [
        (total / (len(pool) or head_slots), f"the work of {pool_name(pool) or 'this machine'}")
        for pool, total in work.items()
    ]
    shared: dict[str, float] = defaultdict(float)
    for step in graph.steps.values():
        inside = {domains.get(name, HEAD_DOMAIN if not name else "") for name in step.pool or ("",)}
        if len(inside) == 1 and (domain := inside.pop()) in processors:
            least_s = min(seconds(step, name) for name in step.pool or ("",))
            shared[domain] += wanted(step.all_processors, processors[domain]) * least_s
    loads += [(work / processors[d], f"the processors of {d}") for d, work in shared.items()]
    return max([(path, "the critical path"), *loads])
