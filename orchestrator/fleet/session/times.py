"""What an agent tells while it times inferences, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from orchestrator.agents.protocol.wire import TIMES, Frame, WireError, number
from orchestrator.data.progress import Progress
from orchestrator.data.times import RawTimes
from orchestrator.fleet.session.types import (
    MeasureFacts,
    SensorSample,
    clean_mapping,
    real,
    whole,
)

_ROWS = 4
_MOST_SAMPLES = 64


def times_and_samples(frame: Frame) -> list[Progress | RawTimes | SensorSample]:
    """What a frame of a measurement brings.

    Raises:
        WireError: it breaks the rules of TIMES.
    """
    if frame.type != TIMES:
        raise WireError(f"{frame.name} within a measurement")
    count = number(frame.meta, "count", 0, 1 << 20)
    if len(frame.payload) != 8 * _ROWS * count:
        raise WireError(f"{count} times in {len(frame.payload)} bytes")
    rows = np.frombuffer(frame.payload, "<i8").astype(np.int64, copy=False).reshape(_ROWS, count)
    if np.any(rows < 0):
        raise WireError("a negative time")
    done = number(frame.meta, "done", 0, 1 << 40)
    total = number(frame.meta, "total", 0, 1 << 40)
    if total < done and count:
        raise WireError(f"{done} of {total} inferences")
    samples = frame.meta.get("samples")
    clean = [clean_mapping(each) for each in samples] if isinstance(samples, list) else []
    found: list[Progress | RawTimes | SensorSample] = [
        SensorSample(sample) for sample in clean[:_MOST_SAMPLES] if sample
    ]
    if count:
        begin, pre, device, both = rows
        block = np.full(count, number(frame.meta, "block", 0, 1 << 20), np.int64)
        found.append(
            RawTimes(begin_ns=begin, pre_ns=pre, device_ns=device, end_to_end_ns=both, block=block)
        )
    return [*found, Progress(done, total, _note(frame.meta))]


def _note(meta: Mapping[str, Any]) -> str:
    if meta.get("phase") == "cooling":
        return f"cooling {real(meta.get('from_c')):.0f} °C → {real(meta.get('below_c')):.0f} °C"
    return "warming up" if meta.get("phase") == "warming up" else ""


def measure_facts(meta: Mapping[str, Any], transfer: Mapping[str, Any]) -> MeasureFacts:
    """What DONE says of a measurement."""
    return MeasureFacts(
        warm_up=whole(meta.get("warm_up")),
        warm_up_s=real(meta.get("warm_up_s")),
        stable=meta.get("stable") is True,
        cooling=clean_mapping(meta.get("cooling")),
        before=clean_mapping(meta.get("before")),
        after=clean_mapping(meta.get("after")),
        cpu=clean_mapping(meta.get("cpu")),
        drivers=clean_mapping(meta.get("drivers")),
        peak_memory_bytes=whole(meta.get("peak_memory_bytes")),
        transfer=dict(transfer),
    )
