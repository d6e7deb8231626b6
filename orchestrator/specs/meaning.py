"""What a text in a specification leads to: nothing, a file, a manifest, or code that farm loads.

Every key that holds a text says so, in its type. Whoever takes a specification from somebody else
(`orchestrator.bundle`) asks here, and refuses a key that does not say it.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any

from orchestrator.specs.base import OneOf, Spec
from orchestrator.specs.yamlfile import PathKey


class Means(Enum):
    """What a text leads to; stands in the type of its key: `Annotated[str, Means.WORD]`."""

    WORD = "nothing outside of the specifications: a name or a description"
    PATH = "a file or folder of whoever wrote the specification"
    MANIFEST = "a model's manifest, by its name or its path"
    BESIDE = "a file, relative to the specification that names it"


@dataclass(frozen=True)
class Code:
    """A text that names code which farm loads; stands in the type of its key.

    Attributes:
        own: the names that are farm's own.
    """

    own: Callable[[], Collection[str]]


Meaning = Means | Code
Word = Annotated[str, Means.WORD]


@dataclass(frozen=True)
class Leaf:
    """A text of a specification.

    Attributes:
        place: the keys that lead to it.
        value: as the specification holds it, a text or a path.
        meaning: None where its key does not say what it leads to.
    """

    place: PathKey
    value: str | PurePath
    meaning: Meaning | None


def leaves(spec: Spec, place: PathKey = ()) -> Iterator[Leaf]:
    """Every text of a specification that is there, with what its key says of it."""
    for name, info in type(spec).model_fields.items():
        meanings = field_meanings(type(spec), name)
        meaning = next(iter(meanings)) if len(meanings) == 1 else None
        yield from _leaves(getattr(spec, name), (*place, info.alias or name), meaning)


def field_meanings(cls: type[Spec], name: str) -> set[Meaning | None]:
    """What a key's texts may lead to: empty where it holds none, None in it where it is not said.

    The texts of parts below the key are the parts' own.
    """
    info = cls.model_fields[name]
    return set(_of_type(info.annotation, _of_metadata(info.metadata, None)))


def parts(cls: type[Spec]) -> set[type[Spec]]:
    """A class of specifications and all that stand below it."""
    found: set[type[Spec]] = set()
    left = [cls]
    while left:
        each = left.pop()
        if each not in found:
            found.add(each)
            left += [p for info in each.model_fields.values() for p in _specs(info.annotation)]
    return found


def _leaves(value: Any, place: PathKey, meaning: Meaning | None) -> Iterator[Leaf]:
    if isinstance(value, Spec):
        yield from leaves(value, place)
    elif isinstance(value, str | PurePath):
        yield Leaf(place, value, meaning)
    elif isinstance(value, tuple | list):
        for i, each in enumerate(value):
            yield from _leaves(each, (*place, i), meaning)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, (*place, str(key)), meaning)


def _of_metadata(metadata: Collection[Any], above: Meaning | None) -> Meaning | None:
    for each in metadata:
        if isinstance(each, Means | Code):
            return each
        if isinstance(each, OneOf):
            return Means.WORD
    return above


def _of_type(kind: Any, above: Meaning | None) -> Iterator[Meaning | None]:
    origin = typing.get_origin(kind)
    if origin is Annotated:
        inner, *metadata = typing.get_args(kind)
        yield from _of_type(inner, _of_metadata(metadata, above))
    elif origin is typing.Literal:
        if any(isinstance(word, str) for word in typing.get_args(kind)):
            yield above or Means.WORD
    elif origin in (typing.Union, types.UnionType, tuple, list, dict):
        for inner in typing.get_args(kind):
            yield from _of_type(inner, above)
    elif isinstance(kind, type) and issubclass(kind, Spec | int | float | None.__class__):
        return
    elif kind is not Ellipsis:  # a text, a path, or what nobody knows
        yield above


def _specs(kind: Any) -> Iterator[type[Spec]]:
    if isinstance(kind, type) and issubclass(kind, Spec):
        yield kind
    for inner in typing.get_args(kind):
        yield from _specs(inner)
