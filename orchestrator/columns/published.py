"""The columns of every table: those of the published one."""

from __future__ import annotations

from orchestrator.columns.base import Part
from orchestrator.columns.texts import rate_text, tar_text, time_text
from orchestrator.results import CellResult


def _hardware(result: CellResult, _: bool) -> str:
    return result.hardware + (" (partial)" if result.partial else "")


def _rank1(result: CellResult, with_interval: bool) -> str:
    mark = ""
    if result.difference is not None and result.difference.real:
        mark = " ↓" if (result.difference.rank1.value or 0) < 0 else " ↑"
    return rate_text(result.rank1, with_interval) + mark


PUBLISHED = (
    Part("Hardware", _hardware, drop=0, names=True),
    Part("Provider", lambda result, _: result.provider, drop=6, names=True),
    Part("Type", lambda result, _: result.type, drop=7, names=True),
    Part("Backend", lambda result, _: result.backend, drop=3, names=True),
    Part("Time", time_text, drop=0, right=True, wraps=True),
    Part("Granularity", lambda result, _: result.granularity or "-", drop=5, names=True),
    Part("Symmetry", lambda result, _: result.symmetry or "-", drop=4, names=True),
    Part("Rank1", _rank1, drop=0, right=True),
    Part("TAR@FAR<={far}", lambda result, wide: tar_text(result.tar, wide), drop=0, right=True),
)
