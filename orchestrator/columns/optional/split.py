"""What a row of two models loses by its detector alone, and by its recognizer alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.columns.base import Column, Part
from orchestrator.columns.texts import DASH, points
from orchestrator.results import CellResult, Difference, Split


def _part(heading: str, of: Callable[[Split], Difference]) -> Part:
    def text(result: CellResult, with_interval: bool) -> str:
        return DASH if result.split is None else points(of(result.split).rank1, with_interval)

    return Part(heading, text, drop=2, right=True)


def _footnotes(results: Sequence[CellResult]) -> list[str]:
    if all(row.split is None for row in results):
        return []
    return [
        "By detector, by recognizer: the change of Rank-1 in points with that model alone as on "
        "the board and the other in float32, over the same probes; together they need not add up, "
        "since a probe that fails for either fails once."
    ]


def _values(result: CellResult) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in ("detector", "recognizer"):
        share = getattr(result.split, name).rank1 if result.split else None
        values |= {
            f"rank1_change_by_{name}": share.value if share else None,
            f"rank1_change_by_{name}_low": share.low if share else None,
            f"rank1_change_by_{name}_high": share.high if share else None,
        }
    return values


COLUMN = Column(
    parts=(
        _part("By detector (points)", lambda split: split.detector),
        _part("By recognizer (points)", lambda split: split.recognizer),
    ),
    needed=lambda results: any(row.split is not None for row in results),
    footnotes=_footnotes,
    values=_values,
)
