"""Reads a YAML file into plain data and remembers the line of every key and value.

Only the plain part of YAML is read: mappings with text keys, lists, text, numbers, true/false and
null. Custom tags, merge keys, duplicate keys, several documents, files above 1 MiB, and aliases or
nesting that unfold to more than a specification can need are refused, so that a file from somebody
else can neither run code nor exhaust memory.
"""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml as pyyaml
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestrator.errors import UserError

MAX_BYTES = 1 << 20
MAX_NODES = 20_000
MAX_DEPTH = 40
MAX_LISTED = 30

PathKey = tuple[str | int, ...]

# What libyaml and ruamel.yaml may read differently, or not alike in all versions: line breaks and
# blanks other than these, escapes, directives, several documents, block scalars, `?`, and a colon
# before a bracket.
_UNUSUAL = re.compile(
    r"[^\n\x20-\x7e\xa1-\u2027\u202a-\ud7ff]|[?\\]|:[,\[\]{}]"
    r"|[|>][-+0-9]* *(#.*)?$|^(%|---|\.\.\.)",
    re.MULTILINE,
)

_PLAIN = "tag:yaml.org,2002:"
_MAPPING = {_PLAIN + "map"}
_SEQUENCE = {_PLAIN + "seq"}
_SCALAR = {_PLAIN + name for name in ("str", "int", "float", "bool", "null", "timestamp")}


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a file: the line (1 is the first) and what is wrong there."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Source:
    """Where data came from: the file as the user named it, and the line of each key and item."""

    file: str
    lines: dict[PathKey, int] = field(default_factory=dict, repr=False)

    def locate(self, path: Iterable[str | int]) -> PathKey:
        """The longest part of `path` that the file has; steps that it lacks are left out."""
        found: PathKey = ()
        for step in path:
            if (*found, step) in self.lines:
                found = (*found, step)
        return found

    def line(self, path: Iterable[str | int]) -> int:
        """Line of the key or item at `path`, or of the nearest one around it."""
        return self.lines.get(self.locate(path), 1)

    def problem(self, path: Iterable[str | int], text: str) -> Problem:
        """A `Problem` at the line of `path`."""
        return Problem(self.file, self.line(path), text)


def nearest(word: object, valid: Collection[str]) -> str:
    """`; did you mean 'x'?` for the valid word nearest to `word`, else the list of valid words."""
    typed, words = str(word).lower(), [each.lower() for each in valid]
    if len(typed) <= 3:  # NPU is no slip of GPU
        words = [each for each in words if each[:1] == typed[:1]]
    close = difflib.get_close_matches(typed, words, 1, 0.6)
    for candidate in valid:
        if close and candidate.lower() == close[0]:
            return f"; did you mean {candidate!r}?"
    return f"; valid: {', '.join(sorted(valid))}" if valid else ""


def fail(problems: Iterable[Problem], hint: str = "") -> None:
    """Raise one `UserError` that lists `problems`, in the order of file and line; none: return."""
    listed = sorted(set(problems), key=lambda p: (p.file, p.line, p.text))
    if listed:
        lines = [str(problem) for problem in listed[:MAX_LISTED]]
        if len(listed) > MAX_LISTED:
            lines.append(f"and {len(listed) - MAX_LISTED} more")
        raise UserError("\n".join(lines), hint)


def read_yaml(path: Path | str) -> tuple[Any, Source]:
    """Plain data of the one document in `path`, and the lines it came from.

    Raises:
        UserError: the file is missing, too large, not UTF-8, not plain YAML, or has a key twice.
    """
    path = Path(path)
    name = str(path)
    text = _read_text(path)
    try:
        yaml, root = _composed(text)
    except _TooMuchError as error:
        raise UserError(f"{name}:{error.line}: {error}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        if "\t" in "".join(text.splitlines()[line - 1 : line]):
            raise UserError(
                f"{name}:{line}: a tab; YAML is indented by spaces only", "put spaces in its place"
            ) from None
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise UserError(f"{name}:{line}: not valid YAML: {what}") from None
    except (YAMLError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{name}:1: not valid YAML: {first}") from None
    if root is None:
        raise UserError(f"{name}:1: the file is empty")
    reader = _Reader(yaml, name)
    try:
        data = reader.value(root, (), 0)
    except _TooMuchError as error:
        raise UserError(f"{name}:{error.line}: {error}") from None
    fail(reader.problems)
    return data, Source(name, reader.lines)


@lru_cache(maxsize=64)
def _composed(text: str) -> tuple[YAML, Node | None]:
    """The document's nodes, which nobody changes: a process reads the same files several times."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _BoundedComposer
    quick = _quickly_composed(text, yaml)
    return yaml, yaml.compose(text) if quick is None else quick


def _quickly_composed(text: str, yaml: YAML) -> Node | None:
    """The same nodes by libyaml, which takes a twentieth of the time; None where the text is not
    plain, is wrong, or libyaml is not there: then ruamel.yaml reads it, and says what is wrong."""
    loader = getattr(pyyaml, "CBaseLoader", None)
    if loader is None or _UNUSUAL.search(text):
        return None
    events = pyyaml.parse(text, Loader=loader)
    try:
        root = None
        for event in events:
            if isinstance(event, pyyaml.NodeEvent):
                if root is not None:
                    return None  # a second document
                root = _QuickComposer(events, yaml).node(event, 1)
        return root  # the rest of the text has been read, too
    except (pyyaml.YAMLError, _NotPlainError):
        return None


def _read_text(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path}: not a file")
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file{_similar_files(path)}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise UserError(f"{path}:1: larger than 1 MiB; a specification is never that large")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 text") from None


def _similar_files(path: Path) -> str:
    try:
        names = sorted(p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml"))
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, 1, 0.6)
    return f"; did you mean {str(path.with_name(close[0]))!r}?" if close else ""


class _TooMuchError(Exception):
    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.line = line


def _check_bounds(nodes: int, depth: int, line: int) -> None:
    if nodes > MAX_NODES:
        raise _TooMuchError(f"unfolds to more than {MAX_NODES} values", line)
    if depth > MAX_DEPTH:
        raise _TooMuchError(f"nested more than {MAX_DEPTH} levels deep", line)


class _BoundedComposer(Composer):
    """Stops at the bounds while it reads, so that a large file costs seconds at the most."""

    _nodes = 0
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._nodes += 1
        self._depth += 1
        _check_bounds(self._nodes, self._depth, self.parser.peek_event().start_mark.line + 1)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


class _NotPlainError(Exception):
    """A document has tags, anchors or aliases, or is too large."""


class _QuickComposer:
    """Makes ruamel.yaml's nodes of libyaml's events.

    Args:
        events: those after the document's start.
        yaml: its rules say which plain words are numbers, truth values or null.
    """

    def __init__(self, events: Iterator[Any], yaml: YAML) -> None:
        self._events, self._resolve = events, yaml.resolver.resolve
        self._nodes = 0

    def node(self, event: Any, depth: int) -> Node:
        """The node that begins with an event.

        Raises:
            _NotPlainError: it, or one inside, has a tag or an anchor; there are too many.
            yaml.YAMLError: the text is no YAML.
        """
        self._nodes += 1
        alias = isinstance(event, pyyaml.AliasEvent)
        bounded = self._nodes <= MAX_NODES and depth <= MAX_DEPTH
        if alias or event.anchor or event.tag or not bounded:
            raise _NotPlainError
        mark, kind = event.start_mark, type(event)
        if kind is pyyaml.ScalarEvent:
            tag = self._resolve(ScalarNode, event.value, event.implicit)
            return ScalarNode(tag, event.value, mark, None)
        if kind is pyyaml.SequenceStartEvent:
            tag = self._resolve(SequenceNode, None, event.implicit)
            items = list(self._below(pyyaml.SequenceEndEvent, depth))
            return SequenceNode(tag, items, mark, None)
        tag = self._resolve(MappingNode, None, event.implicit)
        below = self._below(pyyaml.MappingEndEvent, depth)
        return MappingNode(tag, list(zip(below, below, strict=True)), mark, None)

    def _below(self, end: type, depth: int) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield self.node(event, depth + 1)


class _Reader:
    """Turns composed nodes into plain data; collects problems instead of stopping at the first."""

    def __init__(self, yaml: YAML, name: str) -> None:
        self._scalars = yaml.constructor
        self._name = name
        self._nodes = 0
        self.lines: dict[PathKey, int] = {}
        self.problems: list[Problem] = []

    def _report(self, node: Node, text: str) -> None:
        self.problems.append(Problem(self._name, node.start_mark.line + 1, text))

    def value(self, node: Node, path: PathKey, depth: int) -> Any:
        self._nodes += 1
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        _check_bounds(self._nodes, depth, line)
        if isinstance(node, MappingNode) and node.tag in _MAPPING:
            return dict(self._pairs(node, path, depth))
        if isinstance(node, SequenceNode) and node.tag in _SEQUENCE:
            return [self.value(item, (*path, i), depth + 1) for i, item in enumerate(node.value)]
        if isinstance(node, ScalarNode) and node.tag in _SCALAR:
            return self._scalar(node)
        self._report(node, f"the tag {_tag_name(node.tag)!r} is not allowed here")
        return None

    def _pairs(self, node: MappingNode, path: PathKey, depth: int) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _PLAIN + "merge":
                self._report(key_node, "merge keys (<<) are not allowed; write the keys out")
                continue
            if not isinstance(key_node, ScalarNode) or key_node.tag not in _SCALAR:
                self._report(key_node, "a key must be plain text")
                continue
            key = str(key_node.value)
            if key in seen:
                self._report(
                    key_node, f"the key {key!r} is defined twice (first on line {seen[key]})"
                )
                continue
            seen[key] = line
            self.lines.setdefault((*path, key), line)
            yield key, self.value(value_node, (*path, key), depth + 1)

    def _scalar(self, node: ScalarNode) -> Any:
        kind = str(node.tag)[len(_PLAIN) :]
        if kind == "null":
            return None
        if kind in ("str", "timestamp"):
            return str(node.value)
        try:
            if kind == "bool":
                return bool(self._scalars.construct_yaml_bool(node))
            if kind == "int":
                return int(self._scalars.construct_yaml_int(node))
            return float(self._scalars.construct_yaml_float(node))
        except (ValueError, KeyError, OverflowError):
            self._report(node, f"{_short(node.value)} is not a {kind}")
            return None


def _tag_name(tag: Any) -> str:
    text = str(tag)
    return "!!" + text[len(_PLAIN) :] if text.startswith(_PLAIN) else text


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@cache
def quoted_words(expected: str) -> tuple[str, ...]:
    """The quoted words in pydantic's `'a', 'b' or 'c'`."""
    return tuple(expected.split("'")[1::2])
