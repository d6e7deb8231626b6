"""Tables and lines that fit the terminal: columns go in a stated order, no word is broken."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2  # between two columns
LEAST = 4  # of a column that is cut off where nothing else helps
THIN = 24  # a text in several lines should not be thinner than this
Cell = str | Text


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: its heading.
        drop: 0 stays; of the others the highest goes first where not all fit.
        right: whether it is set right.
        wraps: whether its text may take several lines, broken between words.
        names: whether it says which row it is; without it two rows may look alike.
    """

    name: str
    drop: int = 0
    right: bool = False
    wraps: bool = False
    names: bool = False


def print_line(console: Console, text: str, style: str = "") -> None:
    """A line: on a terminal broken between words, in a file or a log kept whole.

    A path or an address that is wider than the terminal stays in one piece, to be copied.
    """
    lines = [text]
    if console.is_terminal:
        after = " " * (len(text) - len(text.lstrip()))
        lines = textwrap.wrap(
            text,
            console.width,
            subsequent_indent=after,
            break_long_words=False,
            break_on_hyphens=False,
        )
    for line in lines:
        console.print(Text(line, style), soft_wrap=True)


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> Table:
    """A table at most `width` characters wide; cells are plain text, not markup.

    What still does not fit when every column that may go is gone is cut off with `…`.
    """
    rows = [[_text(cell) for cell in row] for row in rows]
    shown = fitting_columns(columns, rows, width)
    texts = [[_text(row[i]) for i in shown] for row in rows]
    widths = _widths([columns[i] for i in shown], texts, width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for number, (place, own) in enumerate(zip(shown, widths, strict=True)):
        column = columns[place]
        last = number == len(shown) - 1
        table.add_column(
            Text(column.name),
            justify="right" if column.right else "left",
            no_wrap=not column.wraps,
            overflow="ellipsis",
            width=own - GAP if last else own,  # the last one's gap is text
        )
    for row in texts:
        table.add_row(*row)
    return table


def fitting_columns(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int
) -> list[int]:
    """Places of the columns that fit, in their order.

    A column that tells two rows apart stays as long as no other does.
    """
    shown = list(range(len(columns)))
    while True:
        texts = [[_text(row[i]) for i in shown] for row in rows]
        least = [_least(columns[i], [row[n] for row in texts]) for n, i in enumerate(shown)]
        may_go = [
            i for i in reversed(shown) if columns[i].drop and _dispensable(i, shown, columns, rows)
        ]
        if sum(least) + GAP * (len(least) - 1) <= width or not may_go or len(shown) < 2:
            return shown
        shown.remove(max(may_go, key=lambda i: columns[i].drop))


def _dispensable(
    place: int, shown: Sequence[int], columns: Sequence[Column], rows: Sequence[Sequence[Cell]]
) -> bool:
    """Whether rows stay told apart without the column at `place`, as far as they are with it."""
    if not columns[place].names:
        return True
    naming = [i for i in shown if columns[i].names]
    left = [i for i in naming if i != place]

    def kinds(places: Sequence[int]) -> int:
        return len({tuple(_text(row[i]).plain for i in places) for row in rows})

    return kinds(left) == kinds(naming)


def fits(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> bool:
    """Whether a table fits, without the columns that may go, with no text cut off."""
    shown = fitting_columns(columns, rows, width)
    least = [_least(columns[i], [_text(row[i]) for row in rows]) for i in shown]
    return sum(least) + GAP * (len(least) - 1) <= width


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def _lines(column: Column, texts: Sequence[Text]) -> list[str]:
    return [column.name, *(line for text in texts for line in text.plain.splitlines())]


def _least(column: Column, texts: Sequence[Text]) -> int:
    """The narrowest that breaks no word, and has no text in a thin stripe."""
    lines = _lines(column, texts)
    if not column.wraps:
        return max((cell_len(line) for line in lines), default=0)
    word = max((cell_len(word) for line in lines for word in line.split()), default=0)
    return max(word, min(THIN, max((cell_len(line) for line in lines[1:]), default=0)))


def _widths(columns: Sequence[Column], texts: Sequence[Sequence[Text]], width: int) -> list[int]:
    own = [[row[n] for row in texts] for n in range(len(columns))]
    widths = [_least(column, own[n]) for n, column in enumerate(columns)]
    wanted = [
        max((cell_len(line) for line in _lines(column, own[n])), default=0)
        for n, column in enumerate(columns)
    ]
    room = width - GAP * (len(columns) - 1)
    while sum(widths) > room and max(widths, default=0) > LEAST:
        widths[widths.index(max(widths))] -= 1
    while sum(widths) < room and (thin := [n for n, w in enumerate(widths) if w < wanted[n]]):
        for n in thin[: room - sum(widths)]:
            widths[n] += 1
    if widths:
        widths[-1] += GAP
    return widths
