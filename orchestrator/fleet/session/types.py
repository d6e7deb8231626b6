"""What a session with a board's agent takes and gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import FarmError, TransientError
from orchestrator.fleet.transport.untrusted import printable

_TEXT = 300
_DEPTH = 6
_ENTRIES = 256


class Cancelled(TransientError):
    """The job was stopped because somebody asked for it."""


class AgentBug(FarmError):
    """The agent failed in a way that is farm's own fault."""


MOST_NUMBERS = 1 << 24
"""Numbers an image: an embedding has hundreds, all outputs of a detector a million."""


@dataclass(frozen=True)
class RuntimeFacts:
    """A runtime that is installed on a board. `providers` is empty while it is not loaded."""

    version: str
    providers: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class AgentFacts:
    """A board as its agent describes it: text made printable, nothing else checked.

    Attributes:
        agent: the agent's version.
        cpu, model: the processor's name; the board's own, where its device tree tells it.
        gpu: an NVIDIA GPU's name; empty where there is none.
        memory_bytes: of the whole board; 0 when unknown.
        pid: the agent's process on the board.
        telemetry: the sensors when the session began.
        drivers: versions of the accelerator's driver and the board's own software.
        identity: what names the board; see `agents/host/identity.py`.
    """

    agent: str
    python: str
    hostname: str
    machine: str
    cpu: str
    cores: int
    memory_bytes: int
    os: str
    kernel: str
    model: str
    pid: int
    gpu: str = ""
    runtimes: Mapping[str, RuntimeFacts] = field(default_factory=dict)
    telemetry: Mapping[str, Any] = field(default_factory=dict)
    drivers: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> AgentFacts:
        """Facts from a HELLO frame; what is missing or odd becomes empty or 0."""
        names = ("agent", "python", "hostname", "machine", "cpu", "os", "kernel", "model", "gpu")
        texts = {name: clean_text(meta.get(name, "")) for name in names}
        return cls(
            **texts,
            cores=whole(meta.get("cores")),
            memory_bytes=whole(meta.get("memory_bytes")),
            pid=whole(meta.get("pid")),
            runtimes=runtimes_from(meta.get("runtimes")),
            telemetry=clean_mapping(meta.get("telemetry")),
            drivers=clean_mapping(meta.get("drivers")),
            identity=clean_mapping(meta.get("identity")),
        )


@dataclass(frozen=True)
class Preprocessing:
    """How the board makes a model's input of raw RGB images, uint8 (height, width, 3).

    Attributes:
        layout: `NCHW` or `NHWC`.
        colour: `RGB` or `BGR`, the order that the model wants.
        mean, std: pixel units, in the order of `colour`; the input is (pixel - mean) / std.
        dtype: `float32`; `uint8` without `scale`: raw pixels, the runtime normalizes; `uint8` or
            `int8` with `scale` and `zero_point`: the normalized value, quantized.

    `specs/artifact.py` says which of these a converted file wants.
    """

    layout: str
    colour: str
    mean: float | Sequence[float]
    std: float | Sequence[float]
    height: int
    width: int
    dtype: str = "float32"
    scale: float | None = None
    zero_point: int = 0

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `to_meta`; `dtype`, `scale` and `zero_point` may be left out."""
        return cls(
            layout=meta["layout"],
            colour=meta["colour"],
            mean=tuple(meta["mean"]),
            std=tuple(meta["std"]),
            height=meta["height"],
            width=meta["width"],
            dtype=meta.get("dtype", "float32"),
            scale=meta.get("scale"),
            zero_point=meta.get("zero_point", 0),
        )

    def to_meta(self) -> dict[str, Any]:
        """The description that the agent expects."""
        meta: dict[str, Any] = {
            "layout": self.layout,
            "colour": self.colour,
            "mean": _numbers(self.mean),
            "std": _numbers(self.std),
            "height": self.height,
            "width": self.width,
            "dtype": self.dtype,
        }
        if self.scale is not None:
            meta |= {"scale": self.scale, "zero_point": self.zero_point}
        return meta


@dataclass(frozen=True)
class TensorFacts:
    """An input or output of a model; None in `shape` where a size is free."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class ModelFacts:
    """A model as the board's runtime loaded it.

    Attributes:
        dim: length of a feature.
        version, provider: the runtime's version, and what of it executes.
        load_s: seconds that loading took, in which some runtimes compile.
        pid: the process on the board in which it runs.
        facts: what else the runtime tells: the device, how an engine was built, what times mean.
    """

    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    dim: int
    runtime: str
    version: str
    provider: str
    load_s: float
    pid: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> ModelFacts:
        """Facts from an OPENED frame.

        Raises:
            ValueError: no usable feature length.
        """
        dim = whole(meta.get("dim"))
        if not 1 <= dim <= MOST_NUMBERS:
            raise ValueError(f"a feature of {dim} numbers")
        return cls(
            inputs=_tensors(meta.get("inputs")),
            outputs=_tensors(meta.get("outputs")),
            dim=dim,
            runtime=clean_text(meta.get("runtime", "")),
            version=clean_text(meta.get("version", "")),
            provider=clean_text(meta.get("provider", "")),
            load_s=whole(meta.get("load_ns")) / 1e9,
            pid=whole(meta.get("pid")),
            facts=clean_mapping(meta.get("facts")),
        )


@dataclass(frozen=True)
class Building:
    """What the board does before an artifact can run: for how long already, and at most."""

    doing: str
    seconds: float
    limit_s: float

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Building:
        """From a PROGRESS frame; what is odd becomes 0."""
        numbers = []
        for name in ("seconds", "limit_s"):
            value = meta.get(name)
            usable = isinstance(value, (int, float)) and value is not True and 0 <= value < 1e9
            numbers.append(float(value) if usable and value is not None else 0.0)
        return cls(clean_text(meta.get("doing", "")), *numbers)


@dataclass(frozen=True)
class MeasurePolicy:
    """How single inferences are timed.

    Timing ends at both minima, at the latest after `max_duration_s`; it is done in `blocks` with
    pauses of `pause_s` between them. `warm_up_count` inferences at least come before, more until
    two medians in a row agree. Before these the board is waited for until its temperature is
    below `cool_below_c` or falls no more, at the longest `cool_deadline_s`. `clocks` may be
    `pinned`: the lowest clock becomes the highest for as long as it takes.
    """

    warm_up_count: int = 20
    min_duration_s: float = 3.0
    min_count: int = 200
    max_duration_s: float = 60.0
    blocks: int = 1
    pause_s: float = 0.0
    cool_below_c: float | None = None
    cool_deadline_s: float = 300.0
    clocks: str = "untouched"

    @property
    def longest_s(self) -> float:
        """All that may pass between the first image and the last time."""
        cooling = 0.0 if self.cool_below_c is None else self.cool_deadline_s
        return cooling + 1.25 * self.max_duration_s


@dataclass(frozen=True)
class SensorSample:
    """A board's sensors; `at_s`, since its first block began, only within a measurement."""

    values: Mapping[str, Any]

    @property
    def within(self) -> bool:
        """Whether it counts for the verdict on a measurement."""
        return "at_s" in self.values


@dataclass(frozen=True)
class MeasureFacts:
    """How a measurement went.

    Attributes:
        warm_up, warm_up_s: inferences and seconds before the timing began.
        stable: whether these settled at a pace.
        cooling: `ended` (`cool`, `settled`, `too late`, `no sensor`), `from_c`, `to_c`,
            `below_c`, `waited_s`; empty where nothing was waited for.
        before, after: the sensors around it.
        cpu: `elapsed_s`, `own_s` (processor time of the agent) and `cores` while it was timed.
        drivers: versions of the accelerator's driver and the board's own software.
        peak_memory_bytes: resident memory of the process that ran the model, at its highest; 0
            when unknown.
        transfer: of the images to the board: `images`, `bytes`, `seconds` (without the round
            trip `rtt_s`).
    """

    warm_up: int
    stable: bool
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    warm_up_s: float = 0.0
    cooling: Mapping[str, Any] = field(default_factory=dict)
    cpu: Mapping[str, Any] = field(default_factory=dict)
    drivers: Mapping[str, Any] = field(default_factory=dict)
    peak_memory_bytes: int = 0
    transfer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExtractFacts:
    """How an extraction went on the board: sum of all runs, and first start to last end."""

    images: int
    failed: int
    run_ns: int
    span_ns: int


class ImageSource(Protocol):
    """Images by index. `read` is called from a thread of the session's own, in order."""

    def __len__(self) -> int: ...

    def read(self, start: int, n: int) -> NDArray[np.uint8]:
        """Images `start` to `start + n`: uint8 (n, height, width, 3), RGB."""


def clean_text(value: Any) -> str:
    """Text from a board, made printable and short."""
    return " ".join(printable(str(value)[: 4 * _TEXT], 4 * _TEXT).split())[:_TEXT]


def clean_mapping(value: Any, depth: int = _DEPTH) -> dict[str, Any]:
    """A JSON object from a board: texts made printable, bounded in depth and entries."""
    if not isinstance(value, dict) or depth <= 0:
        return {}
    return {
        clean_text(key): _clean(each, depth - 1) for key, each in list(value.items())[:_ENTRIES]
    }


def whole(value: Any) -> int:
    """A whole number from a board, 0 for anything else."""
    usable = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63
    return int(value) if usable else 0


def real(value: Any) -> float:
    """A number from a board, 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    try:
        number = float(value)
    except OverflowError:  # JSON's whole numbers have no bound
        return 0.0
    return number if math.isfinite(number) else 0.0


def runtimes_from(value: Any) -> dict[str, RuntimeFacts]:
    """The runtimes of a HELLO or DONE frame."""
    found = {}
    for name, facts in clean_mapping(value).items():
        if isinstance(facts, dict):
            providers = facts.get("providers")
            found[name] = RuntimeFacts(
                version=clean_text(facts.get("version", "")),
                providers=tuple(map(str, providers)) if isinstance(providers, list) else (),
                problem=clean_text(facts.get("problem", "")),
            )
    return found


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return clean_mapping(value, depth)
    if isinstance(value, list):
        return [_clean(each, depth - 1) for each in value[:_ENTRIES]] if depth > 0 else []
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return clean_text(value)


def _numbers(value: float | Sequence[float]) -> float | list[float]:
    return list(value) if isinstance(value, Sequence) else value


def _tensors(value: Any) -> tuple[TensorFacts, ...]:
    tensors = []
    for each in value if isinstance(value, list) else []:
        if isinstance(each, dict) and isinstance(each.get("shape"), list):
            shape = tuple(size if isinstance(size, int) else None for size in each["shape"][:16])
            name, dtype = clean_text(each.get("name", "")), clean_text(each.get("dtype", ""))
            tensors.append(TensorFacts(name, shape, dtype))
    return tuple(tensors[:64])
