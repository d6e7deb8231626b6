"""What a task's rates are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.results import CellResult, Difference, Estimate


@dataclass(frozen=True)
class Rate:
    """A rate that rows are judged by.

    Attributes:
        key: in limits, exports and JSON: `rank1`.
        heading: of its column: `Rank1`.
        words: in a sentence: `Rank-1`.
        of: a row's.
        change: the row's minus float32's.
        subset: of the faces that it is of, where a task has subsets.
        text: as a table writes it; the second argument: whether there is room for the interval.
    """

    key: str
    heading: str
    words: str
    of: Callable[[CellResult], Estimate]
    change: Callable[[Difference], Estimate]
    text: Callable[[CellResult, bool], str]
    subset: str = ""


@dataclass(frozen=True)
class Judged:
    """What the rows of a table are judged by.

    Attributes:
        rates: in the table's order.
        main: the one of them that rows are compared by; it has the p value.
        test: of the main rate's difference.
        over: what a difference is paired over.
        unknown: why no row has the main rate.
        basis: what the rates are of, without a full stop; the argument is the confidence, 0 to 1.
    """

    rates: tuple[Rate, ...]
    main: Rate
    test: str
    over: str
    unknown: str
    basis: Callable[[float], str]
