"""A row's figures of one run in words, as every list of figures shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.columns.texts import milliseconds
from orchestrator.reporting.tables.listing import doubt

Point = Mapping[str, Any]


def figures(point: Point) -> dict[str, str]:
    """`rates`, `time`, and `doubt`: the verdict of a time that is not VALID, else empty.

    Args:
        point: as `orchestrator.reporting.tables.listing` has it.
    """
    return {
        "rates": ", ".join(f"{rate['heading']} {rate['text']}" for rate in point["rates"]),
        "time": milliseconds(point["p50_ms"]),
        "doubt": doubt(point),
    }
