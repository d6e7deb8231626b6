"""Which keys are known, what the store already holds, and so what is left to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
    figures = (step_id for target in graph.targets.values() for step_id in target.figures)
    found.todo = needed(graph, found, figures)
    return found


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
