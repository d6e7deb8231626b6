"""What a column of the table is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.results import CellResult

Text = Callable[["CellResult", bool], str]
"""A row's text; the second argument: whether there is room for intervals and reasons."""


def _never(results: Sequence[CellResult]) -> bool:
    return False


def _no_footnotes(results: Sequence[CellResult]) -> list[str]:
    return []


def _no_values(result: CellResult) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Part:
    """One column as it is drawn.

    Attributes:
        heading: `{far}` in it becomes the FAR of the table.
        text: what a row has there.
        drop: a narrow terminal goes without the column of the highest number first; 0: never.
        right: whether it holds figures, which end at the right.
        wraps: whether its texts may take several lines.
        names: whether it says which row it is; it stays where two rows look alike without it.
    """

    heading: str
    text: Text
    drop: int = 1
    right: bool = False
    wraps: bool = False
    names: bool = False


@dataclass(frozen=True)
class Column:
    """What the table, the footnotes and the exports have of one word of `table: columns:`.

    Attributes:
        parts: the columns that it adds, in order; from the rows where it depends on them.
        needed: whether these rows need it even when nobody asked for it.
        footnotes: what must be said below every table of these rows, asked for or not.
        values: its fields of results.csv, results.parquet and the data frame: numbers and texts,
            None where a row has none; every row has the same fields.
    """

    parts: tuple[Part, ...] | Callable[[Sequence[CellResult]], tuple[Part, ...]]
    needed: Callable[[Sequence[CellResult]], bool] = _never
    footnotes: Callable[[Sequence[CellResult]], list[str]] = _no_footnotes
    values: Callable[[CellResult], Mapping[str, Any]] = _no_values
