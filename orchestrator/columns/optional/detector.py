"""Which detector finds the faces, and where: of test sets of photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.columns.base import Column, Part
from orchestrator.columns.texts import DASH
from orchestrator.results import CellResult

HERE = "float32, this host"


def _text(result: CellResult, _: bool) -> str:
    found = result.detector
    if found is not None:
        own = (result.dtype, result.granularity, result.symmetry, result.calibrator)
        same = (found.dtype, found.granularity, found.symmetry, found.calibrator) == own
        return "as recognizer" if same else found.scheme
    return DASH if result.not_acquired is None else HERE


def _footnotes(results: Sequence[CellResult]) -> list[str]:
    notes = []
    if any(row.detector is not None and row.latency is not None for row in results):
        notes.append(
            "Time of a row whose board finds the faces: detector + recognizer, the median of each "
            "for one photo and one face; decoding and alignment are this host's work and not in it."
        )
    return notes


def _values(result: CellResult) -> dict[str, Any]:
    found, lost = result.detector, result.not_acquired
    latency = found.latency if found else None
    return {
        "detector": found.model if found else None,
        "detector_scheme": found.scheme if found else None,
        "detector_backend": found.backend if found else None,
        "detector_p50_ms": latency.device.p50_ms if latency else None,
        "gallery_not_acquired": lost.gallery if lost else None,
        "probes_not_acquired": lost.probe if lost else None,
    }


COLUMN = Column(
    parts=(Part("Detector", _text, drop=2, names=True),),
    needed=lambda results: any(row.detector is not None for row in results),
    footnotes=_footnotes,
    values=_values,
)
