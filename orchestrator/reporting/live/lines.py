"""Lines of cells under headings, cut to the terminal's width.

rich's own table lays out every cell as a paragraph of its own. A live view has hundreds of cells,
several times a second, beside everything else that a busy host does: here a line is one text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

GAP = 2


@dataclass(frozen=True)
class LiveColumn:
    """One column; exactly one of a table's has no `width`, and gets what the others leave.

    Attributes:
        width: in characters, at the most where it is `as_needed`.
        least: the column without a width is no narrower; the first column gives way.
    """

    heading: str
    width: int | None
    right: bool = False
    as_needed: bool = False
    least: int = 0


def in_lines(
    console: Console,
    columns: Sequence[LiveColumn],
    rows: Sequence[Sequence[RenderableType]],
    *,
    expand: bool,
) -> Text:
    """A line for the headings and one a row.

    Args:
        rows: a cell a column, each a line at the most.
        expand: take the terminal's whole width although the cells need less.
    """
    texts = [[_text(console, cell) for cell in row] for row in rows]
    widths = _widths(columns, texts, console.width, expand)
    found = [_line([Text(column.heading) for column in columns], columns, widths, "bold")]
    found += [_line(row, columns, widths) for row in texts]
    whole = Text("\n", no_wrap=True, overflow="ellipsis").join(found)
    whole.no_wrap, whole.overflow = True, "ellipsis"
    return whole


def _text(console: Console, cell: RenderableType) -> Text:
    if isinstance(cell, Text):
        return cell
    return Text.assemble(*((part.text, part.style or "") for part in console.render(cell)))


def _widths(
    columns: Sequence[LiveColumn], rows: Sequence[Sequence[Text]], width: int, expand: bool
) -> list[int]:
    needed = [
        max([cell_len(column.heading), *(row[place].cell_len for row in rows)])
        for place, column in enumerate(columns)
    ]
    found = [
        0 if column.width is None else min(need, column.width) if column.as_needed else column.width
        for column, need in zip(columns, needed, strict=True)
    ]
    place = next(i for i, column in enumerate(columns) if column.width is None)
    left = width - sum(found) - GAP * (len(columns) - 1)
    found[0] -= max(0, min(found[0], columns[place].least - left))
    least = columns[place].least
    found[place] = max(0, least, left if expand else min(left, needed[place]))
    return found


def _line(
    cells: Sequence[Text], columns: Sequence[LiveColumn], widths: Sequence[int], style: str = ""
) -> Text:
    line = Text(style=style)
    for number, (cell, column, width) in enumerate(zip(cells, columns, widths, strict=True)):
        cut = cell.copy()
        cut.truncate(width, overflow="ellipsis", pad=not column.right)
        if column.right:
            cut.align("right", width)
        if number:
            line.append(" " * GAP)
        line.append_text(cut)
    return line
