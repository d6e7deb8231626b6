"""Renamed keys of a YAML file: read under their old names, with a warning that has the line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from orchestrator.deprecation import Renamed
from orchestrator.specs.yamlfile import PathKey, Problem, Source

Names = Callable[[PathKey], Collection[Renamed]]


def take_old_names(data: Any, source: Source, names: Names) -> list[Problem]:
    """Give what stands under an old name its new one, in the data and in the lines.

    Args:
        data: what the file has; changed.
        source: its lines; changed.
        names: the renamed keys of what may stand at a place.

    Returns:
        A problem for each key that stands under both names.
    """
    problems: list[Problem] = []
    _walk(data, (), source, names, problems)
    return problems


def _walk(node: Any, place: PathKey, source: Source, names: Names, found: list[Problem]) -> None:
    if isinstance(node, dict):
        for each in names(place):
            if each.old not in node:
                continue
            if each.new in node:
                text = f"{each.old!r} is the old name of {each.new!r}, which is there too"
                found.append(source.problem((*place, each.old), text))
                continue
            each.warn(source.file, source.line((*place, each.old)))
            node[each.new] = node.pop(each.old)
            _move(source.lines, (*place, each.old), (*place, each.new))
    for step, value in _below(node):
        _walk(value, (*place, step), source, names, found)


def _below(node: Any) -> Iterable[tuple[str | int, Any]]:
    if isinstance(node, dict):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, list) else []


def _move(lines: dict[PathKey, int], old: PathKey, new: PathKey) -> None:
    for place in [place for place in lines if place[: len(old)] == old]:
        lines[(*new, *place[len(old) :])] = lines.pop(place)
