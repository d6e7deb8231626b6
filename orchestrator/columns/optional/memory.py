"""Peak resident memory of the process that ran the model.

Of a board only: what a process takes on this host says nothing of a board.
"""

from __future__ import annotations

from orchestrator.columns.base import Column, Part
from orchestrator.columns.texts import bytes_text
from orchestrator.results import CellResult


def _peak(result: CellResult) -> int | None:
    return None if result.latency is None else result.latency.peak_memory_bytes


COLUMN = Column(
    parts=(Part("Peak memory", lambda result, _: bytes_text(_peak(result)), right=True),),
    values=lambda result: {"peak_memory_bytes": _peak(result)},
)
