"""Keys that a specification of somebody else must not have: those that load code."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.specs.base import FileSpec
from orchestrator.specs.meaning import Code, leaves
from orchestrator.specs.yamlfile import Problem, fail

HINT = (
    "a run on another computer uses what farm itself has; leave the key out, or run where it is "
    "installed"
)


def refuse_code(specs: Iterable[FileSpec]) -> None:
    """See that specifications name no code but farm's own, and that farm knows all their texts.

    Raises:
        UserError: they do; a line for each problem.
    """
    fail([problem for spec in specs for problem in _problems(spec)], HINT)


def _problems(spec: FileSpec) -> Iterable[Problem]:
    for leaf in leaves(spec):
        key = ".".join(str(step) for step in leaf.place if isinstance(step, str))
        if leaf.meaning is None:
            text = f"{key}: farm does not know whether {str(leaf.value)!r} loads something"
            yield spec.source.problem(leaf.place, text)
        elif isinstance(leaf.meaning, Code) and leaf.value not in leaf.meaning.own():
            known = ", ".join(leaf.meaning.own())
            text = f"{key}: {str(leaf.value)!r} is a plug-in, no part of farm; it has {known}"
            yield spec.source.problem(leaf.place, text)
