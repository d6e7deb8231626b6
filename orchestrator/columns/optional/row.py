"""The row's name, which stands in every table whose other texts do not tell two rows apart."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.columns.base import Column, Part
from orchestrator.results import CellResult


def _look_alike(results: Sequence[CellResult]) -> bool:
    distinct = {
        (r.hardware, r.provider, r.type, r.backend, r.granularity, r.symmetry, r.model)
        for r in results
    }
    return len(distinct) < len(results)


COLUMN = Column(parts=(Part("Row", lambda result, _: result.name, names=True),), needed=_look_alike)
