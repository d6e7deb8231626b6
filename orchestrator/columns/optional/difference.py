"""A row against its model's float32 reference, in percentage points."""

from __future__ import annotations

from typing import Any

from orchestrator.columns.base import Column, Part
from orchestrator.columns.texts import DASH, points
from orchestrator.results import CellResult


def _rank1(result: CellResult, with_interval: bool) -> str:
    change = result.difference
    return DASH if change is None else points(change.rank1, with_interval)


def _tar(result: CellResult, with_interval: bool) -> str:
    change = result.difference
    return DASH if change is None else points(change.tar, with_interval)


def _values(result: CellResult) -> dict[str, Any]:
    change = result.difference
    return {
        "rank1_change": change.rank1.value if change else None,
        "rank1_change_low": change.rank1.low if change else None,
        "rank1_change_high": change.rank1.high if change else None,
        "rank1_change_p_holm": change.p_holm if change else None,
        "rank1_change_real": change.real if change else None,
    }


COLUMN = Column(
    parts=(
        Part("Δ Rank1 (points)", _rank1, right=True),
        Part("Δ TAR (points)", _tar, right=True),
    ),
    values=_values,
)
