"""How far a detector's five points are from the true ones."""

from __future__ import annotations

from typing import Any

from orchestrator.columns.base import Column, Part
from orchestrator.columns.texts import DASH, bounded
from orchestrator.results import CellResult


def _error(result: CellResult, with_interval: bool) -> str:
    if result.detection is None:
        return DASH
    return bounded(result.detection.landmark_error, ".4f", ".4f", with_interval=with_interval)


def _change(result: CellResult, with_interval: bool) -> str:
    if result.difference is None or result.detection is None:
        return DASH
    return bounded(result.difference.landmark_error, "+.4f", "+.4f", with_interval=with_interval)


def _values(result: CellResult) -> dict[str, Any]:
    change = result.difference.landmark_error if result.difference else None
    return {
        "landmark_error_change": change.value if change else None,
        "landmark_error_change_low": change.low if change else None,
        "landmark_error_change_high": change.high if change else None,
    }


# results.csv has the error itself as `landmark_error`.
COLUMN = Column(
    parts=(Part("NME", _error, right=True), Part("Δ NME", _change, right=True)), values=_values
)
