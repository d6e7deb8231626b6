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

    least: dict[str, float] = {}
    work: dict[tuple[str, ...], float] = defaultdict(float)
    shared: dict[str, float] = defaultdict(float)
    for step in graph.steps.values():
        names = step.pool or ("",)
        if len(names) == 1:
            shortest = least[step.id] = seconds(step, names[0])
        else:
            each = [seconds(step, name) for name in names]
            shortest = min(each)
            paces = [1 / max(1e-9, took) for took in each]
            least[step.id] = 1 / (sum(paces) if step.divisible else max(paces))
        work[step.pool] += shortest
        if not processors:
            continue
        inside = {domains.get(name, HEAD_DOMAIN if not name else "") for name in names}
        if len(inside) == 1 and (domain := inside.pop()) in processors:
            shared[domain] += wanted(step.all_processors, processors[domain]) * shortest
    path = max(ranks(graph, lambda step: least[step.id]).values(), default=0.0)
    loads = [
        (total / (len(pool) or head_slots), f"the work of {pool_name(pool) or 'this machine'}")
        for pool, total in work.items()
    ]
    loads += [(work / processors[d], f"the processors of {d}") for d, work in shared.items()]
    return max([(path, "the critical path"), *loads])
