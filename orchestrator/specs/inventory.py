"""The fleet: `device_inventory.yaml`."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from orchestrator.specs.base import SLUG, FileSpec, Many, Spec, load, wrong
from orchestrator.specs.kinds import BoardType, Kind, RuntimeName, load_kinds
from orchestrator.specs.runtimes import ONNXRUNTIME, runtime, runtimes
from orchestrator.specs.transports import (
    EmulatedTransportSpec,
    JumpHost,
    LocalTransportSpec,
    SimulatorTransportSpec,
    SshTransportSpec,
    Transport,
    reached_by,
)
from orchestrator.specs.yamlfile import PathKey, nearest

THIS_HOST = "this-host"


def _plain(value: str) -> str:
    if not value or not value.isprintable():
        raise wrong("must be one line of printable text")
    return value


Clocks = Literal["untouched", "pinned"]

# onnxruntime's own names; a build of a vendor's may have others, which end in the same way.
_PROVIDER = "ExecutionProvider"
_ORT_PROVIDERS = tuple(
    name + _PROVIDER
    for name in (
        *("ACL", "ArmNN", "Azure", "CANN", "CoreML", "CPU", "CUDA", "Dml", "Dnnl", "Js"),
        *("MIGraphX", "Nnapi", "NvTensorRTRTX", "OpenVINO", "QNN", "ROCM", "Rknpu", "SNPE"),
        *("Tensorrt", "VitisAI", "VSINPU", "WebGpu", "WebNN", "Xnnpack"),
    )
)


class RuntimeOptions(Spec):
    """How the board runs a model.

    `providers` says what of the runtime executes: onnxruntime's execution providers, in order, or
    one of TIMVX and CPU (tengine), NPU (rknn), TensorRT (tensorrt). `faithful` (onnxruntime only)
    keeps quantize/dequantize pairs unfused, so that int8 arithmetic is that of the model and not
    that of this host's CPU, some of which saturate; None, an emulated board's where it is left out,
    fuses those of a twin where this CPU is exact. `library` is the absolute path on the board
    of the vendor's library, when it lies where it is not found alone. `fp16` and `workspace_mb`
    (tensorrt only) are for building engines: whether an int8 file's other layers may run in
    float16, and the memory for the builder's trials, 512 MiB when left out.
    """

    name: RuntimeName
    providers: Many[str] = ()
    threads: int = Field(1, ge=1, le=256)
    faithful: bool | None = False
    library: str | None = None
    fp16: bool = False
    workspace_mb: int | None = Field(None, ge=1, le=1 << 20)

    @model_validator(mode="before")
    @classmethod
    def _accelerator(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value.get("providers"):
            return {**value, "providers": _usual_provider(str(value.get("name"))) or ("?",)}
        return value

    @field_validator("library")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not (value.startswith("/") and value.isprintable()):
            raise wrong("expected an absolute path on the board, such as /opt/vendor/lib/libx.so")
        return value

    @field_validator("providers")
    @classmethod
    def _known(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        name = info.data.get("name")
        if name is None:
            return value
        if runtime(name).open_providers:
            _check_providers(value)
            return value
        known = runtime(name).providers
        if len(value) != 1 or value[0] not in known:
            near = nearest(value[0] if value else "", known)
            raise wrong(f"{name} runs on one of {', '.join(known)}{near}")
        return value

    @model_validator(mode="after")
    def _for_builders(self) -> RuntimeOptions:
        if not runtime(self.name).builds and (self.fp16 or self.workspace_mb is not None):
            builders = " and ".join(name for name, each in runtimes().items() if each.builds)
            raise wrong(f"fp16 and workspace_mb are for engines, which only {builders} builds")
        return self

    @property
    def building(self) -> dict[str, Any]:
        """What is said of the building of engines, as the agent takes it."""
        said = {"fp16": self.fp16 or None, "workspace_mb": self.workspace_mb}
        return {name: value for name, value in said.items() if value is not None}

    def to_options(self) -> dict[str, Any]:
        """As the board's agent takes them."""
        options: dict[str, Any] = {
            "providers": list(self.providers),
            "intra_op_threads": self.threads,
            "faithful": self.faithful,
        }
        return options | self.building | ({"library": self.library} if self.library else {})


def _usual_provider(name: str) -> tuple[str, ...]:
    """What executes when the entry does not say it: the accelerator that the runtime is for."""
    return runtime(name).providers[:1]


def _check_providers(names: tuple[str, ...]) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise wrong(f"{name!r} is defined twice")
        short = [full for full in _ORT_PROVIDERS if full.lower() == (name + _PROVIDER).lower()]
        if short:
            raise wrong(
                f"{name!r} is no execution provider of onnxruntime{nearest(short[0], short)}"
            )
        if name in _ORT_PROVIDERS:
            continue
        near = difflib.get_close_matches(name, _ORT_PROVIDERS, 1, 0.9)
        if near or not name.endswith(_PROVIDER):
            raise wrong(
                f"{name!r} is no execution provider of onnxruntime{nearest(name, _ORT_PROVIDERS)}"
            )


LockScope = Literal["board", "workdir"]


_PLACEHOLDER = re.compile(r"\{(\w*)\}")


class Recovery(Spec):
    """What a run may do when the board does not answer or does not work; nothing when left out.

    `reboot` is the command that reboots it, such as `sudo -n reboot`. `power` is a program of
    the host that drives the board, with its arguments, run without a shell: {action} in it becomes
    `off` and, `off_s` seconds later, `on`; without {action} one run cycles the power. {name} and
    {host} are the board's. `boots_in_s` is how long it is then waited for.
    """

    reboot: str | None = None
    power: Many[str] = ()
    off_s: float = Field(5.0, ge=0, le=600, allow_inf_nan=False)
    boots_in_s: float = Field(120.0, gt=0, le=3600, allow_inf_nan=False)

    @field_validator("reboot")
    @classmethod
    def _command(cls, value: str | None) -> str | None:
        return value if value is None else _plain(value)

    @field_validator("power", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise wrong(
                "expected a list of words (a program and its arguments), since no shell runs"
            )
        return value

    @field_validator("power")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            _plain(word)
            for name in _PLACEHOLDER.findall(word):
                if name not in ("action", "name", "host"):
                    valid = ("action", "name", "host")
                    raise wrong(f"{{{name}}} is not one of {valid}{nearest(name, valid)}")
        return value


class Board(Spec):
    """One board. `hardware`, `provider`, `type` and `runtime` come from its kind unless given.

    `lock` is what a run holds: the whole `board`, against every user of that machine, which is the
    rule over SSH; or its `workdir` alone, where several boards are really one machine, as emulated
    ones are. `clocks: pinned` allows its clocks to be held while it is measured, `untouched`
    forbids it; left out, the matrix's `measurement: clocks:` counts. `site`: where it is. Runs that
    join a Ray cluster drive it from a node with the label `farm-site=<site>`; left out, from where
    they were started.
    """

    name: str = Field(pattern=SLUG, max_length=63)
    kind: str
    transport: Transport
    hardware: str
    provider: str
    type: BoardType
    site: str = Field("lab", pattern=SLUG, max_length=63)
    tags: Many[str] = ()
    contention_domain: str
    python: str
    workdir: str = "~/.farm"
    lock: LockScope
    clocks: Clocks | None = None
    runtime: RuntimeOptions
    recovery: Recovery = Recovery()
    # What `auto` meant for the real board that this one replaces.
    _auto: str = PrivateAttr("")

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        filled = dict(value)
        kind = load_kinds().get(str(value.get("kind")))
        transport = value.get("transport")
        if isinstance(transport, Spec):
            transport = transport.model_dump()
        reached, machine = reached_by(transport)
        ssh, emulated = reached == "ssh", reached == "emulated"
        hardware = kind.hardware if kind else "?"
        if kind and machine and kind.any_computer:
            hardware = f"A computer ({machine})"
        filled.setdefault("hardware", hardware)
        filled.setdefault("provider", kind.provider if kind else "?")
        filled.setdefault("type", kind.type if kind else "CPU")
        filled.setdefault("python", "python3" if ssh or machine else sys.executable)
        filled.setdefault("lock", "board" if ssh else "workdir")
        filled.setdefault("contention_domain", str(value.get("name", "?")) if ssh else THIS_HOST)
        options = value.get("runtime", {})
        if isinstance(options, str):
            options = {"name": options}
        if isinstance(options, dict):
            native = _usual_runtime(kind, ssh, reached == "simulator")
            options = {"name": native, **options}
            if options.get("faithful") is None:
                options["faithful"] = None if emulated else False
            if kind and kind.providers and not emulated and options["name"] == ONNXRUNTIME:
                options.setdefault("providers", list(kind.providers))
        filled["runtime"] = options
        return filled

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        if value not in load_kinds():
            raise wrong(f"unknown kind {value!r}{nearest(value, load_kinds())}")
        return value

    @field_validator("python", "workdir", "hardware", "provider", "contention_domain")
    @classmethod
    def _one_line(cls, value: str) -> str:
        return _plain(value)

    @field_validator("workdir")
    @classmethod
    def _own_folder(cls, value: str) -> str:
        if ".." in value.split("/") or value.rstrip("/") in ("", "~"):
            raise wrong("expected a folder of farm's own, such as '~/.farm'")
        return value

    @model_validator(mode="after")
    def _not_this_host(self) -> Board:
        here = isinstance(self.transport, (LocalTransportSpec, SimulatorTransportSpec))
        if self.recovery != Recovery() and here:
            raise wrong("this host is neither rebooted nor switched off by a run", key="recovery")
        return self

    @model_validator(mode="after")
    def _its_processor(self) -> Board:
        known = load_kinds()[self.kind].machines
        if self.machine and known and self.machine not in known:
            text = f"the {self.hardware} has {' or '.join(known)}, not {self.machine}"
            raise wrong(text, key="transport")
        return self

    @property
    def machine(self) -> str:
        """The processor that is emulated for it; empty for this host's and for real boards."""
        own = self.transport
        return (own.machine or "") if isinstance(own, EmulatedTransportSpec) else ""

    @property
    def executed_by(self) -> Literal["board", "emulated", "simulator"]:
        """What a result of this board may be called: never `board` when none is there."""
        if isinstance(self.transport, SimulatorTransportSpec):
            return "simulator"
        return "emulated" if isinstance(self.transport, EmulatedTransportSpec) else "board"

    @property
    def emulated(self) -> bool:
        """Whether this machine plays the board."""
        return self.executed_by == "emulated"

    def runs_twin(self, toolchain: str) -> bool:
        """Whether what a toolchain makes for this board is executed by the toolchain's twin."""
        return self.emulated and toolchain != ONNXRUNTIME

    def runtime_for(self, name: str) -> RuntimeOptions:
        """The options of that runtime here: the entry's own when it speaks of this one."""
        if self.runtime.name == name:
            return self.runtime
        own = load_kinds()[self.kind].providers if name == ONNXRUNTIME else ()
        # Unchecked, since a toolchain of another distribution may need a runtime unknown here.
        return RuntimeOptions.model_construct(
            name=name,
            providers=own or _usual_provider(name),
            threads=self.runtime.threads,
        )

    @property
    def libraries(self) -> dict[str, str]:
        """Runtime to the path of its library on the board, where the entry names one."""
        return {self.runtime.name: self.runtime.library} if self.runtime.library else {}

    @property
    def usual_runtime(self) -> str:
        """The runtime of a board of this kind, reached like this, when its entry names none."""
        ssh = isinstance(self.transport, SshTransportSpec)
        simulated = isinstance(self.transport, SimulatorTransportSpec)
        return _usual_runtime(load_kinds()[self.kind], ssh, simulated)

    def toolchain_for(self, requested: str) -> str:
        """The toolchain that `requested` (`auto` included) means for this board.

        On a real board and on this host `auto` is the one of its runtime; where a twin or a
        simulator is the substitute, it is the kind's.
        """
        if requested != "auto":
            return requested
        if self._auto:
            return self._auto
        kind = load_kinds()[self.kind]
        if self.executed_by != "board" or self.runtime.name == kind.runtime:
            return kind.toolchain
        return self.runtime.name

    def substitute(self, **update: Any) -> Board:
        """A copy with `update`, of which `auto` means what it means for this one."""
        copy = self.model_copy(update=update)
        copy._auto = self.toolchain_for("auto")
        return copy


def _usual_runtime(kind: Kind | None, ssh: bool, simulated: bool) -> str:
    if kind is None or not (ssh or simulated):
        return ONNXRUNTIME
    return kind.runtime if ssh else runtime(kind.runtime).simulator or ONNXRUNTIME


class ToolchainSpec(Spec):
    """Where a vendor's tools are, when farm does not find or install them by itself.

    `bin_dir` (tengine): the folder with its programs. `python` (rknn1): the interpreter that has
    rknn-toolkit 1.x; `ssh`: the converter host that it is on; `version`: of the toolkit there;
    `pre_compile`: see `farm toolchain list`. `options`: those of a toolchain that another
    distribution brings.
    """

    bin_dir: str | None = None
    python: str | None = None
    ssh: JumpHost | None = None
    version: str | None = None
    pre_compile: bool | None = None
    options: dict[str, str] = Field(default_factory=dict)

    def to_options(self) -> dict[str, Any]:
        """As the toolchain takes them."""
        fields = self.model_dump(mode="json", exclude_none=True, exclude={"options"})
        return fields | self.options


class Inventory(FileSpec):
    """Every board there is, and the vendors' tools that are the user's to bring."""

    boards: Many[Board]
    toolchains: dict[str, ToolchainSpec] = Field(default_factory=dict)

    def problems(self) -> Iterator[tuple[PathKey, str]]:
        """Names that stand twice; case does not tell names apart, since folders carry them."""
        seen: dict[str, int] = {}
        for i, board in enumerate(self.boards):
            first = seen.setdefault(board.name.lower(), i)
            if first != i:
                line = self.source.line(("boards", first, "name"))
                yield (
                    ("boards", i, "name"),
                    f"the board {board.name!r} is defined twice (first on line {line})",
                )

    def board(self, name: str) -> Board | None:
        """The board of that name, or None."""
        return next(iter(self.named((name,))), None)

    def named(self, names: Iterable[str]) -> list[Board]:
        """The boards of these names, in the inventory's order."""
        places = {self._places[name] for name in names if name in self._places}
        return [self.boards[place] for place in sorted(places)]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {board.name: place for place, board in enumerate(self.boards)}


MATRIX_INSTEAD = (
    "entries",
    "this looks like a matrix, not an inventory",
    "--inventory names the boards' file, such as device_inventory.yaml",
)


def load_inventory(path: Path | str) -> Inventory:
    """Read and check an inventory.

    Raises:
        UserError: `file:line: what is wrong; did you mean 'x'?`, a line for each problem.
    """
    return load(Inventory, path, instead=MATRIX_INSTEAD)
