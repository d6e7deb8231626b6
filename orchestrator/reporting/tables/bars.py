"""Bars of text for a terminal: each row's main rate against float32's, to both sides."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from orchestrator.columns.tasks import judged
from orchestrator.results import CellResult

CELLS = 4  # to each side of the middle
GOOD, BAD, PLAIN = "green", "red", "dim"


def bars(results: Sequence[CellResult]) -> tuple[str, list[Text]]:
    """A column's heading with the scale (points of a full bar), and a bar for each row.

    Coloured: the difference is significant. Empty: the row was not compared. No bars at all
    (and no heading) where no row was.
    """
    full = full_bar(results)
    if not full:
        return "", []
    return f"Δ ±{full:g}", [_bar(row, full) for row in results]


def full_bar(results: Sequence[CellResult]) -> float:
    """Points of a full bar; 0 where no row was compared."""
    known = [abs(value) for row in results if (value := points(row)) is not None]
    return _scale(max(known)) if known else 0.0


def points(row: CellResult) -> float | None:
    """Its main rate minus float32's, in points; None where it was not compared."""
    value = None if row.difference is None else judged([row]).main.change(row.difference).value
    return None if value is None else 100 * value


def colour(row: CellResult) -> str:
    """Of its difference: empty where it is not significant."""
    if row.difference is None or not row.difference.real:
        return ""
    return BAD if (points(row) or 0.0) < 0 else GOOD


def _scale(most: float) -> float:
    """The next of 1, 2, 5 times a power of ten; at least a tenth of a point."""
    if most <= 0.1:
        return 0.1
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= most - 1e-9)


def _bar(row: CellResult, full: float) -> Text:
    value = points(row)
    if value is None:
        return Text("")
    halves = min(2 * CELLS, round(abs(value) / full * 2 * CELLS))
    whole, half = divmod(halves, 2)
    if value < 0:
        left = ("▐" if half else "") + "█" * whole
        text, length = f"{left:>{CELLS}}│{'':{CELLS}}", CELLS
        begin = CELLS - len(left)
    else:
        right = "█" * whole + ("▌" if half else "")
        text, length = f"{'':{CELLS}}│{right:<{CELLS}}", len(right)
        begin = CELLS + 1
    drawn = Text(text, style=PLAIN)
    if colour(row):
        drawn.stylize(f"not dim {colour(row)}", begin, begin + length if value >= 0 else CELLS)
    return drawn
