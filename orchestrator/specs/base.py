"""What every specification shares: strict frozen models, and errors told in the file's words."""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from orchestrator.deprecation import Renamed
from orchestrator.specs.old_names import take_old_names
from orchestrator.specs.yamlfile import (
    PathKey,
    Problem,
    Source,
    fail,
    nearest,
    quoted_words,
    read_yaml,
)

T = TypeVar("T")

SLUG = r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$"
"""A name that is safe as a folder on every machine."""


class Spec(BaseModel):
    """A part of a specification: unknown keys refused, no silent conversion, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
    renamed: ClassVar[tuple[Renamed, ...]] = ()
    """Keys of this part that were called otherwise; see `orchestrator.deprecation`."""


class FileSpec(Spec):
    """A specification that is a whole file; it remembers where each of its parts stood."""

    _source: Source = PrivateAttr(default_factory=lambda: Source("<not from a file>"))

    @property
    def source(self) -> Source:
        """The file and the lines this came from."""
        return self._source

    @property
    def folder(self) -> Path:
        """The folder of the file; relative paths in the file start there."""
        return Path(self._source.file).parent

    def problems(self) -> Iterator[tuple[PathKey, str]]:
        """What is wrong across parts, each with its place; single parts are checked before."""
        yield from ()


def _as_list(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return value if value is None else (value,)


def one_or_many(value: Any) -> Any:
    """Let a field that takes several values be written as a single one."""
    return _as_list(value)


Many = Annotated[tuple[T, ...], Field(strict=False)]
"""A list in the file, a tuple here."""

OneOrMany = Annotated[tuple[T, ...], BeforeValidator(one_or_many), Field(strict=False)]
"""A list or a single value in the file, a tuple here."""


class OneOf:
    """A text that is one of the names found in a folder: `Annotated[str, OneOf(names)]`.

    Checked, and described in JSON Schema, as `Literal[...]` is.
    """

    def __init__(self, names: Callable[[], Collection[str]]) -> None:
        self._names = names

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return core_schema.literal_schema(list(self._names()))


def wrong(text: str, **context: Any) -> PydanticCustomError:
    """The error a validator raises; `text` is shown as it is."""
    return PydanticCustomError("farm", "{text}", {"text": text, **context})


def tagged(value: Any, tag: str, tags: tuple[str, ...], short: str = "") -> Any:
    """Read `word` or `{word: {...}}` as a mapping that carries `word` under the key `tag`.

    Args:
        value: what the file has.
        tag: the key that discriminates the union.
        tags: the words that are valid.
        short: the field that a plain value below the word fills (`{word: value}`); "" for none.
    """
    if isinstance(value, str):
        if value in tags:
            return {tag: value}
        raise wrong(f"{value!r} is not one of {', '.join(tags)}{nearest(value, tags)}")
    if not isinstance(value, dict) or tag in value:
        return value
    chosen = [word for word in tags if word in value]
    others = [str(key) for key in value if key not in tags]
    if others:
        raise wrong(f"unknown key {others[0]!r}{nearest(others[0], tags)}", key=others[0])
    if len(chosen) != 1:
        raise wrong(f"expected exactly one of {', '.join(tags)}")
    inner = value[chosen[0]]
    if inner is None:
        inner = {}
    if short and not isinstance(inner, dict):
        inner = {short: inner}
    if not isinstance(inner, dict):
        raise wrong(f"expected a mapping below {chosen[0]!r}", key=chosen[0])
    return {tag: chosen[0], **inner}


S = TypeVar("S", bound=FileSpec)


def load(
    cls: type[S],
    path: Path | str,
    context: dict[str, Any] | None = None,
    *,
    instead: tuple[str, str, str] | None = None,
) -> S:
    """Read and check a whole file.

    Args:
        cls: what the file describes.
        path: the file, as the user named it.
        context: handed to the validators; `base`, the file's folder, is always there.
        instead: a key that only another file has, which file this looks like then, and a hint.

    Raises:
        UserError: `file:line: what is wrong; did you mean 'x'?`, a line for each problem.
    """
    data, source = read_yaml(path)
    if instead is not None and isinstance(data, dict) and instead[0] in data:
        fail([source.problem((instead[0],), instead[1])], instead[2])
    if not isinstance(data, dict):
        fail([source.problem((), f"expected a mapping with the keys {', '.join(_keys({cls}))}")])
    if _has_renamed(cls):
        fail(take_old_names(data, source, lambda place: _renamed_at(cls, place)))
    try:
        spec = cls.model_validate(data, context={"base": Path(path).parent, **(context or {})})
    except ValidationError as error:
        fail(problems_of(error, cls, source))
        raise
    spec._source = source
    fail(source.problem(place, text) for place, text in spec.problems())
    return spec


def problems_of(error: ValidationError, cls: type[Spec], source: Source) -> list[Problem]:
    """Each error of pydantic as a line of the file and a plain sentence."""
    # A list whose items are wrong is counted as empty too: only a list that is empty in the file
    # has too few items.
    return [
        _problem(details, cls, source)
        for details in error.errors(include_url=False)
        if details["type"] != "too_short" or not details["input"]
    ]


_EXPECTED = {
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "string_type": "expected text (put it in quotes)",
    "bool_type": "expected true or false",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "dict_type": "expected a mapping",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "union_tag_not_found": "expected a mapping",
    "too_short": "expected at least one item",
    "finite_number": "expected a finite number",
}

SECRETS = ("password", "passwd", "passphrase", "secret", "token")


def _problem(details: ErrorDetails, cls: type[Spec], source: Source) -> Problem:
    loc, kind, context = details["loc"], details["type"], details.get("ctx") or {}
    place = source.locate(loc)
    name = _dotted(place)
    if kind == "extra_forbidden":
        bad, keys = str(loc[-1]), _keys(_classes_at(cls, loc[:-1]))
        where = f" in {_dotted(place[:-1])}" if len(place) > 1 else ""
        if bad.lower() in SECRETS:
            text = f"no secrets in a file: {bad!r}{where} is refused; use a key or an agent"
        else:
            text = f"unknown key {bad!r}{where}{nearest(bad, keys)}"
    elif kind == "missing":
        where = f" in {name}" if name else ""
        text = f"missing key {str(loc[-1])!r}{where}"
    elif kind == "literal_error":
        valid = quoted_words(str(context.get("expected", "")))
        text = f"{name}: {_shown(details)} is not a valid value{nearest(details['input'], valid)}"
    elif kind == "farm":
        if "key" in context:
            place = source.locate((*loc, str(context["key"])))
        text = f"{name}: {context['text']}" if name else str(context["text"])
    else:
        expected = _EXPECTED.get(kind) or details["msg"].replace("Input should", "should", 1)
        text = f"{name}: {expected}, not {_shown(details)}"
    return source.problem(place, text)


def _shown(details: ErrorDetails) -> str:
    value = details["input"]
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list, tuple)):
        empty = "an empty" if not value else "a"
        return f"{empty} {'mapping' if isinstance(value, dict) else 'list'}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _dotted(place: Iterable[str | int]) -> str:
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _classes_at(cls: type[Spec], loc: Iterable[str | int]) -> set[type[Spec]]:
    """The specification classes that may stand at `loc`, so that their keys can be proposed."""
    here: set[type[Spec]] = {cls}
    for step in loc:
        below: set[type[Spec]] = set()
        for candidate in here:
            for name, info in candidate.model_fields.items():
                if step in (name, info.alias):
                    below |= _classes_in(info.annotation)
        tags = {c for c in here if step in _tags(c)}
        here = below or tags or here
    return here


def _tags(cls: type[Spec]) -> set[str]:
    """Values of the literal fields: the words that tell members of a union apart."""
    values: set[str] = set()
    for info in cls.model_fields.values():
        if typing.get_origin(info.annotation) is typing.Literal:
            values |= {str(v) for v in typing.get_args(info.annotation)}
    return values


def _classes_in(annotation: Any) -> set[type[Spec]]:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return {annotation}
    return {c for part in typing.get_args(annotation) for c in _classes_in(part)}


def _renamed_at(cls: type[Spec], loc: PathKey) -> list[Renamed]:
    return [renamed for candidate in _classes_at(cls, loc) for renamed in candidate.renamed]


@cache
def _has_renamed(cls: type[Spec]) -> bool:
    """Whether a part of `cls` has a key that was renamed."""
    parts = {c for info in cls.model_fields.values() for c in _classes_in(info.annotation)}
    return bool(cls.renamed) or any(_has_renamed(part) for part in parts - {cls})


def _keys(classes: set[type[Spec]]) -> list[str]:
    return sorted({info.alias or name for c in classes for name, info in c.model_fields.items()})
