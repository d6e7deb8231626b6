"""A row against its model's float32 reference, in percentage points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.columns.base import Column, Part, Text
from orchestrator.columns.tasks import Rate, judged
from orchestrator.columns.texts import DASH, points
from orchestrator.results import CellResult


def _text(rate: Rate) -> Text:
    def text(result: CellResult, with_interval: bool) -> str:
        change = result.difference
        return DASH if change is None else points(rate.change(change), with_interval)

    return text


def _parts(results: Sequence[CellResult]) -> tuple[Part, ...]:
    return tuple(
        Part(f"Δ {rate.heading.partition('@')[0]} (points)", _text(rate), right=True)
        for rate in judged(results).rates
    )


def _values(result: CellResult) -> dict[str, Any]:
    """Of the rate that rows are compared by."""
    change, main = result.difference, judged([result]).main
    rate = main.change(change) if change else None
    return {
        f"{main.key}_change": rate.value if rate else None,
        f"{main.key}_change_low": rate.low if rate else None,
        f"{main.key}_change_high": rate.high if rate else None,
        f"{main.key}_change_p_holm": change.p_holm if change else None,
        f"{main.key}_change_real": change.real if change else None,
    }


COLUMN = Column(parts=_parts, values=_values)
