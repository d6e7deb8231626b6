"""Kinds of boards: what a kind of hardware is, runs and accepts. The data is in `kinds/*.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from typing import Annotated, Literal

from pydantic import Field

from orchestrator.plugins import built_in_toolchains
from orchestrator.specs.base import SLUG, FileSpec, Many, OneOf, Spec, load
from orchestrator.specs.quantization import Quantization, Scheme
from orchestrator.specs.runtimes import inventory_runtimes
from orchestrator.specs.yamlfile import fail

BoardType = Literal["GPU", "ASIC", "CPU"]
RuntimeName = Annotated[str, OneOf(inventory_runtimes)]
ToolchainName = Annotated[str, OneOf(built_in_toolchains)]


class Signatures(Spec):
    """How a kind is recognised, and what a board that is none of it shows; patterns, as `fnmatch`.

    `device_tree` are names of /proc/device-tree/compatible that only this kind has, `models` such
    texts of its model. `family` are names that it shares with other boards, `others` names that
    such others have and this kind never has. `soc` is what the kernel calls its chip (family and
    id, `Tegra 25`), `soc_family` what it calls chips of that maker. `accelerators` are the drivers
    (`agents/host/identity.py`) of which its accelerator has one. `files` are files that it has. A
    kind without `device_tree` is any computer.
    """

    device_tree: Many[str] = ()
    models: Many[str] = ()
    family: Many[str] = ()
    others: Many[str] = ()
    soc: Many[str] = ()
    soc_family: Many[str] = ()
    accelerators: Many[str] = ()
    files: Many[str] = ()


class Sensors(Spec):
    """What of a board's sensors counts, beyond what every kernel tells in one place.

    `zones` are the thermal zones (by type) of what computes: the hottest of them is the board's
    temperature; all count when none is there. `clocks` are files with a clock in Hz. `gpus` are
    NVIDIA's graphics cards by their index in NVML, which sysfs does not tell of.
    """

    zones: Many[str] = ()
    clocks: Many[str] = ()
    gpus: Many[str] = ()


class Kind(FileSpec):
    """A kind of board.

    `rule` is the vendor's quantization rule in words, for messages. `runtime` must be the one that
    the files of `toolchain` run on.
    `schemes` are what its accelerator runs; `float32` and `float16` tell whether it runs these
    too. `machines` are what such a board may call its processor (`uname -m`); empty: anything.
    `target` is what the toolchain calls its processor, where a file fits only one: several kinds
    may share it, as boards of one chip do.
    """

    name: str = Field(pattern=SLUG)
    hardware: str
    provider: str
    type: BoardType
    soc: str
    machines: Many[str] = ()
    accelerator: str
    runtime: RuntimeName
    toolchain: ToolchainName
    target: str = ""
    rule: str
    providers: Many[str] = ()  # onnxruntime's, where an entry does not say them; else the CPU
    float32: bool
    float16: bool = False
    schemes: Many[Scheme] = ()
    signatures: Signatures = Signatures()
    sensors: Sensors = Sensors()
    notes: str = ""

    def accepts(self, quantization: Quantization) -> bool:
        """Whether boards of this kind run `quantization`."""
        if quantization.scheme is None:
            return self.float32 if quantization.dtype == "float32" else self.float16
        return quantization.scheme in self.schemes

    @property
    def any_computer(self) -> bool:
        """Whether any computer is of this kind, whatever its processor."""
        return not (self.machines or self.signatures.device_tree or self.target) and (
            self.type == "CPU"
        )

    @property
    def supported(self) -> str:
        """What this kind runs, in words: `uint8 per-tensor asymmetric`."""
        ways = [f"{s.dtype} {s.granularity} {s.symmetry}" for s in self.schemes]
        return ", ".join(["float32"] * self.float32 + ["float16"] * self.float16 + ways)


class _Kinds(Mapping[str, Kind]):
    """Each kind by its name, which its file has too; a file is read when it is asked for."""

    def __init__(self, folder: Traversable) -> None:
        names = (entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))
        self._files = {name.removesuffix(".yaml"): folder / name for name in sorted(names)}
        self._read: dict[str, Kind] = {}

    def __getitem__(self, name: str) -> Kind:
        if name not in self._read:
            with as_file(self._files[name]) as path:
                kind = load(Kind, path)
            if kind.name != name:
                text = f"name: {kind.name!r} in a file called {name}.yaml; write `name: {name}`"
                fail([kind.source.problem(("name",), text)])
            self._read[name] = kind
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: object) -> bool:
        return name in self._files


@cache
def load_kinds() -> Mapping[str, Kind]:
    """Every kind that farm knows, by name, sorted.

    Raises:
        UserError: a file of `kinds/` is wrong; when that kind is asked for.
    """
    return _Kinds(files("orchestrator").joinpath("kinds"))
