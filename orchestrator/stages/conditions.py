"""Under which conditions a measurement was made: the sensors beside its raw times."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SAMPLES = "samples.json"


@dataclass(frozen=True)
class Conditions:
    """Under which the times were taken.

    Attributes:
        samples: the sensors while it was timed, in order, with `at_s` since the first block began
            and their `block`; see `agents/measurement/telemetry.py` for the rest.
        facts: what `MeasureFacts` tells; empty where it is not known.
        stranger: why the board cannot be one of its kind; empty when it may be.
        untold: what it does not tell of what it is.
        emulator: by what it shows that it is an emulator; empty when it is none.
        perhaps: by what it may be an emulator, where nothing it shows decides that.
    """

    samples: Sequence[Mapping[str, Any]] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    stranger: str = ""
    untold: Sequence[str] = ()
    emulator: str = ""
    perhaps: str = ""

    def series(self, name: str) -> list[tuple[float, float]]:
        """(seconds, value) of a sample's number, where it has one."""
        return [
            (number(sample.get("at_s")), number(sample[name]))
            for sample in self.samples
            if is_number(sample.get(name))
        ]

    def each(self, name: str) -> dict[str, list[float]]:
        """Values in order of every entry of a sample's mapping (`clocks_mhz`, `power_w`, ...)."""
        found: dict[str, list[float]] = {}
        for sample in self.samples:
            for key, value in mapping(sample.get(name)).items():
                if is_number(value):
                    found.setdefault(key, []).append(float(value))
        return found

    def to_bytes(self) -> bytes:
        """The samples as JSON."""
        return json.dumps(list(self.samples), separators=(",", ":")).encode()


def samples_from(data: bytes) -> list[dict[str, Any]]:
    """The inverse of `Conditions.to_bytes`.

    Raises:
        ValueError: it is no JSON.
    """
    samples = json.loads(data)
    return [dict(sample) for sample in samples if isinstance(sample, dict)]


def pace_mhz(sample: Mapping[str, Any]) -> float | None:
    """The clock of what computes: the accelerator's where a board tells it, else the fastest CPU's.

    Args:
        sample: one of a board's sensors; see `agents/measurement/telemetry.py`.
    """
    clocks = mapping(sample.get("clocks_mhz"))
    for word in ("npu", "gpu", "gv11b", "gp10b", "ga10b", "vip"):
        for name, value in clocks.items():
            if word in name.lower() and is_number(value):
                return float(value)
    clock = sample.get("clock_mhz")
    return float(clock) if clock is not None and is_number(clock) else None


def is_number(value: Any) -> bool:
    """Whether a value that a board told is a finite number."""
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    return usable and -1e18 < value < 1e18  # not a number fails both


def number(value: Any) -> float:
    """A number that a board told, 0 for anything else."""
    return float(value) if is_number(value) else 0.0


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping that a board told, empty for anything else."""
    return value if isinstance(value, Mapping) else {}
