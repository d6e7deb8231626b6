"""Which keys are known, what the store already holds, and so what is left to do."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.hashing import digest
from orchestrator.planning.graph import Graph, Step


@dataclass
class Resolution:
    """The state of a plan against a store.

    Attributes:
        keys: step id to its key; a step is missing while its inputs' content is unknown.
        contents: step id to the content hash of what the store holds for it.
        todo: ids of steps that must run, in the graph's order.
    """

    keys: dict[str, str] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    todo: list[str] = field(default_factory=list)

    @property
    def shown(self) -> set[str]:
        """The steps to do, and those that the store holds."""
        return {*self.todo, *self.contents}

    def cached(self, step_id: str) -> bool:
        """Whether the store holds this step's output."""
        return step_id in self.contents


def step_key(step: Step, contents: Mapping[str, str]) -> str | None:
    """A step's key, or None while an input's content or its board's facts are unknown.

    The deploy step's output lives on a board, never in the store: its key only names it in events.
    """
    inputs: dict[str, str] = {}
    for role, source in step.inputs.items():
        if source not in contents:
            return None
        inputs[role] = contents[source]
    if "runtime" in step.params and step.params["runtime"] is None:
        return None
    value: dict[str, Any] = {
        "stage": step.stage,
        "recipe": step.facts.recipe,
        "inputs": inputs,
        "params": step.params,
    }
    return digest(value)


class Keys:
    """Keys that were worked out before: a plan asks for all of them again after every step."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Mapping[str, Any], tuple[str | None, ...], str | None]] = {}

    def of(self, step: Step, contents: Mapping[str, str]) -> str | None:
        """As `step_key`, whose answer depends on parameters and contents alone."""
        inputs = tuple(contents.get(source) for source in step.inputs.values())
        if None in inputs:
            return None
        known = self._known.get(step.id)
        if known is None or known[1] != inputs or known[0] != step.params:
            known = self._known[step.id] = step.params, inputs, step_key(step, contents)
        return known[2]


def resolve(
    graph: Graph, lookup: Callable[[str, str], str | None], keys: Keys | None = None
) -> Resolution:
    """Work out keys as far as holdings reach, then what the targets still need.

    Args:
        graph: the plan's steps, each after its inputs.
        lookup: (stage, key) to the content hash that the store holds, or None.
        keys: of this plan, worked out before.
    """
    found, keys = Resolution(), keys or Keys()
    for step in graph.steps.values():
        key = keys.of(step, found.contents)
        if key is None:
            continue
        found.keys[step.id] = key
        if not step.facts.stored:
            continue
        content = lookup(step.stage, key)
        if content is not None:
            found.contents[step.id] = content
    found.todo = needed(graph, found, figures(graph))
    return found


def figures(graph: Graph) -> Iterable[str]:
    """Ids of the steps that hold what rows show."""
    return (step_id for target in graph.targets.values() for step_id in target.figures)


def changed(graph: Graph, before: Resolution, now: Resolution) -> set[str]:
    """Ids of the steps of which a report says something else: whether they are to do or held, or
    which of their sources are."""
    shown = before.shown ^ now.shown
    behind = (s for s in graph.steps if not shown.isdisjoint(graph.sources(s))) if shown else ()
    return shown.union(before.contents.keys() ^ now.contents.keys(), behind)


class Successors:
    """Works out again what changes in a resolution of one graph when steps have ended.

    All that a plan of thousands of steps has would else be worked out again after each of them.

    Args:
        first: a resolution of this graph by these `keys`.
    """

    def __init__(self, graph: Graph, keys: Keys, first: Resolution) -> None:
        self._graph, self._keys = graph, keys
        self._position = {step_id: number for number, step_id in enumerate(graph.steps)}
        self._behind: dict[str, list[str]] = defaultdict(list)
        for step in graph.steps.values():
            for source in set(step.inputs.values()):
                self._behind[source].append(step.id)
        self._alike: dict[str | None, set[str]] = defaultdict(set)  # steps by their key
        for step_id, key in first.keys.items():
            self._alike[key].add(step_id)
        self._needed = Needed(graph, first.contents)

    def resolve(
        self, known: Resolution, ended: Iterable[str], lookup: Callable[[str, str], str | None]
    ) -> Resolution:
        """The resolution after the store has received the outputs of some steps.

        It equals that of `resolve` where the store has received nothing else and lost nothing.

        Args:
            known: the resolution before.
            ended: ids of these steps; those that the graph no longer has are ignored.
            lookup: as for `resolve`.
        """
        found = Resolution(dict(known.keys), dict(known.contents))
        pending = [self._position[step_id] for step_id in ended if step_id in self._position]
        heapq.heapify(pending)
        steps = list(self._graph.steps.values())
        while pending:
            step = steps[heapq.heappop(pending)]
            key, before = self._keys.of(step, found.contents), found.contents.pop(step.id, None)
            self._note(step.id, key, found)
            content = None if key is None or not step.facts.stored else lookup(step.stage, key)
            if content is not None:
                found.contents[step.id] = content
            if content != before:
                self._needed.note(step.id, held=content is not None)
                for each in (*self._behind[step.id], *self._alike.get(key, ())):
                    heapq.heappush(pending, self._position[each])
        found.todo = self._needed.in_order()
        return found

    def _note(self, step_id: str, key: str | None, found: Resolution) -> None:
        before = found.keys.pop(step_id, None)
        if key is not None:
            found.keys[step_id] = key
        if before != key:
            if before is not None:
                self._alike[before].discard(step_id)
            if key is not None:
                self._alike[key].add(step_id)


def needed(graph: Graph, found: Resolution, targets: Iterable[str]) -> list[str]:
    """Ids of the steps that must run before all of `targets` are held, in the graph's order."""
    wanted: set[str] = set()
    pending = list(targets)
    while pending:
        current = pending.pop()
        if current in wanted or found.cached(current):
            continue
        wanted.add(current)
        pending.extend(graph.sources(current))
    return [step_id for step_id in graph.steps if step_id in wanted]


class Needed:
    """The steps that must run before all that rows show is held, as the store's holdings change.

    A step is needed while it is not held and rows show it, or a needed step comes after it.

    Args:
        held: what the store holds, by step.
    """

    def __init__(self, graph: Graph, held: Collection[str]) -> None:
        self._graph = graph
        self._held = set(held)
        self._reasons = Counter(figures(graph))  # for each step, how many there are to need it
        self._needed: set[str] = set()
        for step_id in reversed(graph.steps):
            self._look_at(step_id)

    def note(self, step_id: str, *, held: bool) -> None:
        """The store holds a step's output, or does not any more."""
        (self._held.add if held else self._held.discard)(step_id)
        pending = [step_id]
        while pending:
            pending += self._look_at(pending.pop())

    def _look_at(self, step_id: str) -> tuple[str, ...]:
        """Decide about a step; returns those before it, about which to decide if it changed."""
        needs = step_id not in self._held and self._reasons[step_id] > 0
        if needs == (step_id in self._needed):
            return ()
        (self._needed.add if needs else self._needed.discard)(step_id)
        sources = self._graph.sources(step_id)
        for source in sources:
            self._reasons[source] += 1 if needs else -1
        return sources

    def in_order(self) -> list[str]:
        """Their ids, in the graph's order."""
        return [step_id for step_id in self._graph.steps if step_id in self._needed]
