"""How many of its sources each step of a graph still lacks, as more and more are done. Pure."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.planning.graph import Graph


class Sources:
    """How many of its sources each step still lacks.

    Attributes:
        after: the steps that a step is a source of.
    """

    def __init__(self, graph: Graph, is_done: Callable[[str], bool]) -> None:
        self._steps = graph.steps
        self._deploys = dict.fromkeys(graph.steps, 0)
        self._others = dict.fromkeys(graph.steps, 0)
        self.after: dict[str, list[str]] = {step_id: [] for step_id in graph.steps}
        for step_id in graph.steps:
            for source in set(graph.sources(step_id)):
                self.after[source].append(step_id)
                if not is_done(source):
                    self._lacking(source)[step_id] += 1

    def _lacking(self, source: str) -> dict[str, int]:
        return self._deploys if self._steps[source].facts.prepares_board else self._others

    def count(self, step_id: str, *, done: bool) -> list[str]:
        """A step is done, or is no longer; returns the steps after it that may be ready or near.

        Those that were so before are among them.
        """
        change, lacking, others = -1 if done else 1, self._lacking(step_id), self._others
        found = []
        for each in self.after[step_id]:
            near = not others[each]
            lacking[each] += change
            if near or not others[each]:
                found.append(each)
        return found

    def are_near(self, step_id: str) -> bool:
        """Whether a step lacks nothing but deploys."""
        return not self._others[step_id]

    def lack_deploys(self, step_id: str) -> bool:
        """Whether a step lacks deploys."""
        return self._deploys[step_id] > 0
