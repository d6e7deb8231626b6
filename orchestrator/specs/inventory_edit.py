"""Boards written into and taken out of `device_inventory.yaml`, everything else left as it is.

A person's file is not rewritten: ruamel.yaml tells where each entry begins and ends, lines are
put in or taken out there, and all other bytes stay. Before the file is replaced, the result is read
back with the strict reader and must hold just the boards that it should; a file whose form does not
allow that is refused. The replacement is atomic, and a file that somebody saved meanwhile is not
overwritten.
"""

from __future__ import annotations

import io
import os
import re
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestrator.errors import UserError
from orchestrator.specs.inventory import Board, Inventory, load_inventory
from orchestrator.specs.yamlfile import nearest

HEADER = "# The fleet: the boards that farm may use. `farm boards --help` shows what can be done.\n"
_BOARDS = "boards"
_EMPTY = re.compile(r"[ \t]*\[[ \t]*\]")


def add_board(path: Path, entry: Mapping[str, Any]) -> Board:
    """Write an entry at the end of the list; the file is made when there is none.

    Args:
        path: the inventory.
        entry: plain data in the order in which it is to stand.

    Returns:
        the board as it is read back.

    Raises:
        UserError: the file is wrong, has a board of that name, has a form that cannot be extended
            safely, or changed meanwhile; or the entry is not a valid one.
    """
    name = str(entry.get("name"))

    def change(text: str, before: Inventory | None) -> str:
        if before is None:
            return HEADER + _BOARDS + ":\n" + "\n".join(_rendered(entry, 2, "")) + "\n"
        if taken := _named(before, name):
            raise UserError(
                f"{path}: there is a board {taken.name!r} already (line "
                f"{_line(before, taken.name)})",
                "choose another with --name, or take that one out with `farm boards remove`",
            )
        return _inserted(path, text, entry)

    after = _replace(path, change, added=name)
    board = after.board(name)
    assert board is not None
    return board


def remove_board(path: Path, name: str) -> None:
    """Take an entry out, with the comments inside it; comments above it stay.

    Raises:
        UserError: the file is wrong, has no such board, has a form from which it cannot be taken
            safely, or changed meanwhile.
    """

    def change(text: str, before: Inventory | None) -> str:
        if before is None:
            raise UserError(f"{path}: no such file")
        known = [board.name for board in before.boards]
        if name not in known:
            raise UserError(f"{path}: there is no board {name!r}{nearest(name, known)}")
        return _without(path, text, known.index(name))

    _replace(path, change, removed=name)


def _replace(
    path: Path,
    change: Callable[[str, Inventory | None], str],
    *,
    added: str | None = None,
    removed: str | None = None,
) -> Inventory:
    target = path.resolve()  # a link stays one
    raw, before = b"", None
    if target.exists():
        before = load_inventory(path)
        raw = target.read_bytes()
    text = change(raw.decode("utf-8"), before)
    try:
        with tempfile.NamedTemporaryFile(
            "wb", dir=target.parent, prefix=f".{target.name}.", suffix=".new", delete=False
        ) as file:
            fresh = Path(file.name)
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        after = _read_back(path, fresh, before, added, removed)
        now = target.read_bytes() if target.exists() else b""
        if now != raw:
            raise UserError(f"{path}: somebody else changed it just now", "try again")
        if target.exists():
            fresh.chmod(stat.S_IMODE(target.stat().st_mode))
        else:
            fresh.chmod(0o644)
        fresh.replace(target)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        fresh.unlink(missing_ok=True)
    return after


def _read_back(
    path: Path, fresh: Path, before: Inventory | None, added: str | None, removed: str | None
) -> Inventory:
    try:
        after = load_inventory(fresh)
    except UserError as error:
        message = error.message.replace(str(fresh), str(path))
        raise UserError(f"nothing was written: {message}", error.hint) from None
    old = [board for board in (before.boards if before else ()) if board.name != removed]
    new = [board for board in after.boards if board.name != added]
    if old != new or (added is not None and after.board(added) is None):
        raise UserError(
            f"{path}: its form does not let farm change one board without touching another",
            "edit it by hand: write `boards:` as a plain list, one `- name: ...` below the other",
        )
    return after


def _named(inventory: Inventory, name: str) -> Board | None:
    return next((b for b in inventory.boards if b.name.lower() == name.lower()), None)


def _line(inventory: Inventory, name: str) -> int:
    index = [board.name for board in inventory.boards].index(name)
    return inventory.source.line((_BOARDS, index, "name"))


@dataclass(frozen=True)
class _Item:
    """An entry's lines, counted from 0, `stop` excluded; the column of its dash."""

    start: int
    stop: int
    column: int


def _inserted(path: Path, text: str, entry: Mapping[str, Any]) -> str:
    node = _list_of(path, text)
    lines = text.split("\n")
    end = "\r" if lines[0].endswith("\r") else ""
    if not node.value:
        line, column = _place(text, node.start_mark)
        found = _EMPTY.search(lines[line], max(0, _before(lines[line], column)))
        if found is None:
            raise _odd(path)
        lines[line] = lines[line][: found.start()] + lines[line][found.end() :]
        lines[line + 1 : line + 1] = _rendered(entry, 2, end)
        return "\n".join(lines)
    items = _items(path, text, node)
    last = items[-1]
    new = _rendered(entry, last.column, end)
    if _set_apart(lines, items):
        new.insert(0, end)
    lines[last.stop : last.stop] = new
    return "\n".join(lines)


def _without(path: Path, text: str, index: int) -> str:
    node = _list_of(path, text)
    lines = text.split("\n")
    items = _items(path, text, node)
    item = items[index]
    start, stop = item.start, item.stop
    if len(items) == 1:
        # An empty list must still be one.
        line = next(i for i in range(start - 1, -1, -1) if lines[i].lstrip().startswith(_BOARDS))
        colon = lines[line].index(":", lines[line].index(_BOARDS))
        lines[line] = lines[line][: colon + 1] + " []" + lines[line][colon + 1 :]
    blank_before = start > 0 and not lines[start - 1].strip()
    blank_after = stop < len(lines) and not lines[stop].strip()
    if blank_before and (blank_after or index == len(items) - 1):
        start -= 1
    elif blank_after and 0 == index < len(items) - 1 and not blank_before:
        stop += 1
    del lines[start:stop]
    return "\n".join(lines)


def _list_of(path: Path, text: str) -> SequenceNode:
    """The node of `boards`; the text has been read strictly before, so it is plain YAML."""
    root = YAML(typ="safe", pure=True).compose(text)
    assert isinstance(root, MappingNode)
    for key, value in root.value:
        if isinstance(key, ScalarNode) and key.value == _BOARDS:
            if isinstance(value, SequenceNode) and (not value.flow_style or not value.value):
                return value
            raise _odd(path)
    raise _odd(path)


def _items(path: Path, text: str, node: SequenceNode) -> list[_Item]:
    lines = text.split("\n")
    items: list[_Item] = []
    for child in node.value:
        line, _ = _place(text, child.start_mark)
        dash = line
        while dash >= 0 and not lines[dash].lstrip(" ").startswith("-"):
            dash -= 1
        stop = _last_line(text, child) + 1
        column = len(lines[dash]) - len(lines[dash].lstrip(" "))
        # Comments that stand deeper than the dash, right below, belong to the entry.
        while stop < len(lines) and _inner_comment(lines[stop], column):
            stop += 1
        if dash < (items[-1].stop if items else 0):
            raise _odd(path)
        items.append(_Item(dash, stop, column))
    return items


def _inner_comment(line: str, column: int) -> bool:
    bare = line.lstrip(" \t")
    return bare.startswith("#") and len(line) - len(bare) > column


def _last_line(text: str, node: Node) -> int:
    """The last line that carries anything of a node; collections end where the next token is."""
    if isinstance(node, ScalarNode) or getattr(node, "flow_style", False):
        line, column = _place(text, node.end_mark)
        if column == 0 and line > _place(text, node.start_mark)[0]:
            line -= 1  # a block of text ends at the beginning of the next line
        return line
    last = _place(text, node.start_mark)[0]
    for child in node.value:
        for part in child if isinstance(child, tuple) else (child,):
            last = max(last, _last_line(text, part))
    return last


def _place(text: str, mark: Any) -> tuple[int, int]:
    """Line and column, lines ending at line feeds only, unlike YAML's."""
    before = text[: mark.index]
    return before.count("\n"), len(before) - (before.rfind("\n") + 1)


def _before(line: str, column: int) -> int:
    """Where the blanks before a column begin."""
    while column > 0 and line[column - 1] in " \t":
        column -= 1
    return column


def _set_apart(lines: list[str], items: list[_Item]) -> bool:
    """Whether the list's entries have an empty line between them."""
    if len(items) == 1:
        return True
    above = items[-1].start - 1
    while above > 0 and lines[above].lstrip().startswith("#"):
        above -= 1
    return not lines[above].strip()


def _rendered(entry: Mapping[str, Any], column: int, end: str) -> list[str]:
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 1 << 16
    yaml.default_flow_style = False
    yaml.indent(mapping=2, sequence=4, offset=2)
    buffer = io.StringIO()
    yaml.dump(dict(entry), buffer)
    block = buffer.getvalue().rstrip("\n").split("\n")
    pad = " " * column
    first = f"{pad}- {block[0]}"
    return [first + end, *(f"{pad}  {line}" + end for line in block[1:])]


def _odd(path: Path) -> UserError:
    return UserError(
        f"{path}: farm can change `boards` only where it is a plain list",
        "write one `- name: ...` below the other",
    )
