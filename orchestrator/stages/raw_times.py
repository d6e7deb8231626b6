"""What a measurement leaves raw: a time for each inference, and the sensors beside them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

TIMES = "times.npz"
SAMPLES = "samples.json"


@dataclass(frozen=True, eq=False)
class RawTimes:
    """Times of inferences in order, int64 nanoseconds (n,) each.

    Attributes:
        device_ns: inside the native run call.
        end_to_end_ns: from the raw image on the board to the float32 feature there.
        pre_ns: of that, preprocessing.
        begin_ns: when each inference began, since the first block did; never falling.
        block: int64 (n,), the number of the block in which each was timed.
    """

    device_ns: Int64
    end_to_end_ns: Int64
    pre_ns: Int64
    begin_ns: Int64
    block: Int64

    @classmethod
    def of(cls, device_ns: Int64, end_to_end_ns: Int64) -> RawTimes:
        """Times of which nothing else is known: one block, one inference after the other."""
        nothing = np.zeros(len(device_ns), np.int64)
        begin = np.concatenate([nothing[:1], np.cumsum(end_to_end_ns)[:-1]])
        return cls(device_ns, end_to_end_ns, nothing, begin, nothing)

    @classmethod
    def joined(cls, parts: Iterable[RawTimes]) -> RawTimes:
        """Times that came one part after the other."""
        kept = list(parts)
        return cls(*(np.concatenate([getattr(part, name) for part in kept]) for name in _NAMES))

    @property
    def post_ns(self) -> Int64:
        """End to end without preprocessing and the native call: copies in and out, dequantizing."""
        rest: Int64 = self.end_to_end_ns - self.pre_ns - self.device_ns
        return np.maximum(rest, np.int64(0), dtype=np.int64)

    @property
    def blocks(self) -> list[Int64]:
        """Positions of each block's inferences."""
        return [np.flatnonzero(self.block == number) for number in np.unique(self.block)]

    @property
    def seconds(self) -> float:
        """How long inferences ran, without the pauses between blocks."""
        return float(self.end_to_end_ns.sum()) / 1e9

    def to_bytes(self) -> bytes:
        """The arrays as an .npz file."""
        buffer = io.BytesIO()
        np.savez(buffer, **{name: getattr(self, name) for name in _NAMES})
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> RawTimes:
        """The inverse of `to_bytes`; the files of earlier recipes have two of the arrays.

        Raises:
            ValueError, KeyError: it is no such file.
        """
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            found = {name: np.asarray(file[name], np.int64) for name in _NAMES if name in file}
        if len(found) == len(_NAMES):
            return cls(**found)
        return cls.of(found["device_ns"], found["end_to_end_ns"])


_NAMES = ("device_ns", "end_to_end_ns", "pre_ns", "begin_ns", "block")


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
    """

    samples: Sequence[Mapping[str, Any]] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    stranger: str = ""
    untold: Sequence[str] = ()
    emulator: str = ""

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
    told = json.loads(data)
    return [dict(sample) for sample in told if isinstance(sample, dict)]


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
