"""What results.json has of the detector that runs on a row's board before the recognizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.planning.cells import Encoder
from orchestrator.planning.graph import DetectorTargets
from orchestrator.preflight.planner import Plan, encoder_backend
from orchestrator.results import Latency, Verdict
from orchestrator.store.artifacts import Held

_WORST = (Verdict.VALID, Verdict.SIMULATED, Verdict.EMULATED, Verdict.SUSPECT)


@dataclass(frozen=True)
class HeldDetector:
    """What the store holds of a detector's steps; None where there is no such step, or (features)
    where only what came of them is left."""

    encoder: Encoder
    artifact: Held
    parity: Held | None
    measure: Held | None
    probe: Held | None


def as_json(found: HeldDetector, *, timing_valid: bool) -> dict[str, Any]:
    """Its part of the row.

    Args:
        timing_valid: whether the times of both models are those of the row's board.
    """
    quantization = found.encoder.quantization
    measured = found.measure.manifest["facts"] if found.measure else None
    latency = {name: measured.get(name) for name in Latency.model_fields} if measured else None
    return {
        "model": found.encoder.model,
        "backend": encoder_backend(found.encoder),
        "dtype": quantization.dtype,
        "granularity": quantization.granularity,
        "symmetry": quantization.symmetry,
        "calibrator": quantization.calibrator if quantization.is_calibrated else None,
        "latency": latency if timing_valid else None,
        "latency_host": None if timing_valid else latency,
        "artifact_sha256": found.artifact.manifest["facts"]["sha256"],
        "artifact_bytes": found.artifact.manifest["facts"]["bytes"],
    }


def provenance(plan: Plan, found: HeldDetector, targets: DetectorTargets) -> dict[str, Any]:
    """By what its steps were made, and the keys under which the store holds them."""
    keys = plan.resolution.keys
    return {
        "model": plan.models[found.encoder.model].about,
        "artifact": found.artifact.manifest["provenance"],
        "probe": found.probe.manifest["provenance"] if found.probe else {},
        "parity": found.parity.manifest["facts"] if found.parity else {},
        "measure": found.measure.manifest["provenance"] if found.measure else {},
        "keys": {name: keys[step] for name, step in vars(targets).items() if step in keys},
    }


def timed_together(recognizer: Mapping[str, Any], detector: Mapping[str, Any]) -> dict[str, Any]:
    """What the times of both are worth, from the facts of two measurements: the worse verdict, and
    the reasons of both."""
    either = [Verdict(recognizer["verdict"]), Verdict(detector["verdict"])]
    worst = max(either, key=_WORST.index)
    reasons = [*recognizer["reasons"], *(f"detector {each}" for each in detector["reasons"])]
    reason = recognizer["reason"] if worst == either[0] else f"detector: {detector['reason']}"
    if either[0] == either[1] == Verdict.SUSPECT:
        reason = f"{recognizer['reason']}; detector: {detector['reason']}"
    return {
        "timing_valid": recognizer["timing_valid"] and detector["timing_valid"],
        "verdict": worst,
        "reason": reason,
        "reasons": reasons,
        "notes": list(dict.fromkeys([*recognizer["notes"], *detector["notes"]])),
    }
