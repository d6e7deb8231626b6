"""How far a detector's five points are from the true ones."""

from __future__ import annotations

from typing import Any

from orchestrator.columns.base import Column, Part
from orchestrator.columns.texts import DASH
from orchestrator.results import CellResult, Estimate


def _estimate(value: Estimate, *, sign: str, with_interval: bool) -> str:
    if value.value is None:
        return DASH
    text = f"{value.value:{sign}.4f}"
    if not with_interval or value.low is None or value.high is None:
        return text
    return f"{text} [{value.low:{sign}.4f}, {value.high:{sign}.4f}]"


def _error(result: CellResult, with_interval: bool) -> str:
    if result.detection is None:
        return DASH
    return _estimate(result.detection.landmark_error, sign="", with_interval=with_interval)


def _change(result: CellResult, with_interval: bool) -> str:
    if result.difference is None or result.detection is None:
        return DASH
    return _estimate(result.difference.landmark_error, sign="+", with_interval=with_interval)


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
