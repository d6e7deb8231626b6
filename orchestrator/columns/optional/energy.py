"""Energy of one inference, where a power rail was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.columns.base import Column, Part
from orchestrator.columns.texts import DASH, row_names
from orchestrator.results import CellResult, Energy


def _energy(result: CellResult) -> Energy | None:
    return None if result.latency is None else result.latency.energy


def energy_text(result: CellResult) -> str:
    """Energy of one inference and its rail, `45.2 mJ (VDD_IN, 9.1 W)`; empty where not measured."""
    energy = _energy(result)
    if energy is None:
        return ""
    return f"{1e3 * energy.inference_j:.3g} mJ ({energy.rail}, {energy.mean_w:.1f} W)"


def _footnotes(results: Sequence[CellResult]) -> list[str]:
    name = row_names(results)
    drawn = {name(r).rstrip("*"): energy_text(r) for r in results if energy_text(r)}
    if not drawn:
        return []
    listed = "; ".join(f"{name} {text}" for name, text in drawn.items())
    return [f"Energy of one inference, the board's idle power included: {listed}."]


def _values(result: CellResult) -> dict[str, Any]:
    energy = _energy(result)
    return {
        "energy_inference_j": energy.inference_j if energy else None,
        "energy_mean_w": energy.mean_w if energy else None,
        "energy_rail": energy.rail if energy else None,
    }


COLUMN = Column(
    parts=(Part("Energy", lambda result, _: energy_text(result) or DASH, right=True),),
    footnotes=_footnotes,
    values=_values,
)
