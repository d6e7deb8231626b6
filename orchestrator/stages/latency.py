"""Raw times into figures. Nothing but this file turns times into percentiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.columns.texts import milliseconds
from orchestrator.data.times import TIMES, RawTimes
from orchestrator.stages.conditions import SAMPLES, Conditions, mapping, number, pace_mhz
from orchestrator.stages.judging import judge, notes, unseen
from orchestrator.stages.stage_output import StageOutput

FILE = TIMES
CURVE = 60  # points of a sustained curve
_LEAST = 5  # inferences behind each of them


def pack(
    times: RawTimes,
    conditions: Conditions,
    policy: Mapping[str, Any],
    executed_by: str,
    provenance: Mapping[str, Any],
) -> StageOutput:
    """Keep every raw time and sample, and the figures made of them.

    Args:
        times: at least one inference.
        conditions: the sensors beside them. A stranger's times are kept, but are no board's.
        policy: the measurement policy that was asked for.
        executed_by: what ran the inferences.
        provenance: board, runtime and telemetry.
    """
    verdict, reasons = judge(times, conditions, policy, executed_by)
    facts = {
        "device": summary(times.device_ns),
        "end_to_end": summary(times.end_to_end_ns),
        "pre": summary(times.pre_ns),
        "post": summary(times.post_ns),
        "transfer": transfer(conditions),
        "energy": energy(times, conditions),
        "peak_memory_bytes": conditions.facts.get("peak_memory_bytes") or None,
        "blocks": [{"count": len(part), **summary(times.device_ns[part])} for part in times.blocks],
        "yardstick_ms": yardstick(conditions),
        "timing_valid": executed_by == "board" and not (conditions.stranger or conditions.emulator),
        "verdict": verdict,
        "reasons": list(reasons),
        "reason": "; ".join(reasons),
        "notes": list(notes(conditions)),
        "unseen": list(unseen(conditions)),
    }
    files = {TIMES: times.to_bytes(), SAMPLES: conditions.to_bytes()}
    return StageOutput(files, facts, provenance)


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


def p50(facts: Mapping[str, Any]) -> str:
    """The median inside the native run call, for a person."""
    return milliseconds(facts["device"]["p50_ms"])


def transfer(conditions: Conditions) -> dict[str, float | int] | None:
    """What an image takes over the link to the board, or None where it is not known.

    Of one burst of all images of the measurement, without a round trip; nothing else ran.
    """
    seen = mapping(conditions.facts.get("transfer"))
    images, seconds = int(number(seen.get("images"))), number(seen.get("seconds"))
    if images <= 0:
        return None
    return {
        "images": images,
        "image_bytes": int(number(seen.get("bytes"))) // images,
        "image_ms": 1e3 * seconds / images,
        "round_trip_ms": 1e3 * number(seen.get("rtt_s")),
    }


def yardstick(conditions: Conditions) -> float | None:
    """How long the fixed piece of processor work took, the median over blocks."""
    seen = [value for _, value in conditions.series("yardstick_ms")]
    return float(np.median(seen)) if seen else None


def energy(times: RawTimes, conditions: Conditions) -> dict[str, Any] | None:
    """Energy of one inference by rail, or None where no rail is measured.

    The mean power of a rail while blocks ran, times the mean time end to end: what the board drew
    meanwhile, its idle power included. A rail with an energy counter tells its mean power over
    each block; the others are sampled. `rail` is the one that feeds the board (its name ends in
    IN, as on Jetsons), else the one that draws most.
    """
    watts = {name: float(np.mean(values)) for name, values in conditions.each("power_w").items()}
    watts |= _counted(conditions)
    if not watts:
        return None
    seconds = float(times.end_to_end_ns.mean()) / 1e9
    inlets = [name for name in watts if name.upper().split(" ")[0].endswith(("_IN", "VIN"))]
    rail = max(inlets or watts, key=watts.__getitem__)
    return {
        "rail": rail,
        "mean_w": watts[rail],
        "inference_j": watts[rail] * seconds,
        "rails_w": watts,
    }


def _counted(conditions: Conditions) -> dict[str, float]:
    """Mean power within blocks, by the counters' differences; one that wrapped is left out."""
    spent: dict[str, float] = {}
    took: dict[str, float] = {}
    for before, after in zip(conditions.samples, conditions.samples[1:], strict=False):
        if before.get("block") != after.get("block"):
            continue
        seconds = number(after.get("at_s")) - number(before.get("at_s"))
        first = mapping(before.get("energy_j"))
        for name, joules in mapping(after.get("energy_j")).items():
            more = number(joules) - number(first.get(name))
            if name in first and more >= 0 and seconds > 0:
                spent[name] = spent.get(name, 0.0) + more
                took[name] = took.get(name, 0.0) + seconds
    return {name: joules / took[name] for name, joules in spent.items()}


@dataclass(frozen=True, eq=False)
class Sustained:
    """Whether a board keeps its pace; float64 (n,) each.

    `at_s` are seconds since the first block began, pauses included; `p50_ms` and `p90_ms` of the
    inferences around them. `temperature` and `clock` are (seconds, °C) and (seconds, MHz).
    """

    at_s: NDArray[np.float64]
    p50_ms: NDArray[np.float64]
    p90_ms: NDArray[np.float64]
    temperature: list[tuple[float, float]]
    clock: list[tuple[float, float]]


def sustained(times: RawTimes, conditions: Conditions, points: int = CURVE) -> Sustained:
    """The curve of inference time over elapsed seconds, with the sensors beside it.

    Each point joins consecutive inferences, at least `_LEAST` of them where there are as many.
    """
    count = len(times.device_ns)
    points = max(1, min(points, count // _LEAST))
    least, longer = divmod(count, points)
    cut = longer * (least + 1)  # before it, a point joins one inference more than after it

    def parts(values: NDArray[Any]) -> list[NDArray[Any]]:
        first, second = values[:cut], values[cut:].reshape(points - longer, least)
        return [first.reshape(longer, least + 1), second] if longer else [second]

    begun = [part.mean(axis=1) / 1e9 for part in parts(times.begin_ns)]
    device = [np.percentile(part, (50, 90), axis=1) for part in parts(times.device_ns / 1e6)]
    p50, p90 = np.concatenate(device, axis=1)
    return Sustained(
        np.concatenate(begun),
        p50,
        p90,
        conditions.series("temperature_c"),
        [
            (number(sample.get("at_s")), clock)
            for sample in conditions.samples
            if (clock := pace_mhz(sample)) is not None
        ],
    )
