"""measure: raw times in, figures out. Nothing but this file turns times into percentiles."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.stages.made import Made

FILE = "times.npz"
NOISY_CV = 0.25  # relative MAD above which a median says little


def pack(
    device_ns: NDArray[np.int64],
    end_to_end_ns: NDArray[np.int64],
    policy: Mapping[str, Any],
    executed_by: str,
    provenance: Mapping[str, Any],
) -> Made:
    """Keep every raw time, and the figures made of them.

    Args:
        device_ns: time inside the native run call, int64 nanoseconds, one an inference, in order.
        end_to_end_ns: the same with pre- and postprocessing and copies on the board.
        policy: the measurement policy that was asked for.
        executed_by: what ran the inferences.
        provenance: board, runtime and telemetry.
    """
    buffer = io.BytesIO()
    np.savez(buffer, device_ns=device_ns, end_to_end_ns=end_to_end_ns)
    device, whole = summary(device_ns), summary(end_to_end_ns)
    verdict, reason = judge(device_ns, end_to_end_ns, policy, executed_by)
    facts = {
        "device": device,
        "end_to_end": whole,
        "timing_valid": executed_by == "board",
        "verdict": verdict,
        "reason": reason,
    }
    return Made({FILE: buffer.getvalue()}, facts, provenance)


def summary(times_ns: NDArray[np.int64]) -> dict[str, float | int]:
    """Percentiles and spread of raw times, in milliseconds.

    Percentiles are the nearest rank from below (an observed time, no interpolation); `mad_ms` is
    the median absolute deviation from the median.

    Args:
        times_ns: int64 nanoseconds, at least one.
    """
    ordered = np.sort(times_ns)
    at = {
        f"p{q}_ms": float(ordered[max(0, -(-q * len(ordered) // 100) - 1)]) / 1e6
        for q in (50, 90, 99)
    }
    mad = float(np.median(np.abs(ordered - np.median(ordered)))) / 1e6
    return {
        "count": len(ordered),
        "min_ms": float(ordered[0]) / 1e6,
        **at,
        "max_ms": float(ordered[-1]) / 1e6,
        "mean_ms": float(ordered.mean()) / 1e6,
        "mad_ms": mad,
    }


def judge(
    device_ns: NDArray[np.int64],
    end_to_end_ns: NDArray[np.int64],
    policy: Mapping[str, Any],
    executed_by: str,
) -> tuple[str, str]:
    """The verdict on a measurement: VALID, SUSPECT with its reason, or EMULATED."""
    if executed_by != "board":
        return "EMULATED", "times are this host's, not the board's"
    seconds = float(end_to_end_ns.sum()) / 1e9
    if len(device_ns) < policy["min_count"]:
        return "SUSPECT", f"too short: {len(device_ns)} inferences of {policy['min_count']}"
    if seconds < 0.9 * policy["min_duration_s"]:
        return "SUSPECT", f"too short: {seconds:.1f} s of {policy['min_duration_s']:.1f} s"
    middle = float(np.median(device_ns))
    spread = float(np.median(np.abs(device_ns - middle))) / max(middle, 1.0)
    if spread > NOISY_CV:
        return "SUSPECT", f"noisy: median absolute deviation is {spread:.0%} of the median"
    halves = np.array_split(device_ns, 2)
    drift = float(np.median(halves[1]) / max(float(np.median(halves[0])), 1.0)) - 1
    if abs(drift) > NOISY_CV:
        return "SUSPECT", f"drifting: the second half's median differs by {drift:+.0%}"
    return "VALID", ""
