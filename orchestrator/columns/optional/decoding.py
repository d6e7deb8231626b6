"""What decoding and NMS of a detector's outputs take on this host."""

from __future__ import annotations

from typing import Any

from orchestrator.columns.base import Column, Part
from orchestrator.columns.texts import DASH
from orchestrator.results import CellResult


def _text(result: CellResult, _: bool) -> str:
    found = result.detection
    if found is None or found.decode_ms_here is None or found.nms_ms_here is None:
        return DASH
    return f"{found.decode_ms_here:.2f} + {found.nms_ms_here:.2f} ms"


def _values(result: CellResult) -> dict[str, Any]:
    found = result.detection
    return {
        "decode_ms_here": found.decode_ms_here if found else None,
        "nms_ms_here": found.nms_ms_here if found else None,
    }


COLUMN = Column(parts=(Part("Decoding + NMS, this host", _text, right=True),), values=_values)
