"""Processors that this host can emulate for a board (`farm boards machine install`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from orchestrator import installations

VARIABLE = "FARM_MACHINES"

MachineName = Literal["aarch64", "armv7l"]
MACHINES: tuple[MachineName, ...] = get_args(MachineName)


@dataclass(frozen=True)
class Machine:
    """A processor with a userland of its own, run by QEMU's user mode.

    Attributes:
        name: as `uname -m` prints it there.
        folder: all that is its own.
        shell, python: programs of this host that run the machine's shell and Python.
        path: the folder of both, which is all of the PATH there.
        qemu: the emulator's version.
        cpu: the core that it emulates; it decides which kernels a library chooses.
        packages: versions of what decides features: Python, onnxruntime, numpy.
    """

    name: str
    folder: str
    shell: str
    python: str
    path: str
    qemu: str
    cpu: str
    packages: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def folder_of(name: str) -> Path:
    """The folder of one machine, whether it is there or not."""
    return installations.place(VARIABLE, "machines") / name


def find(name: str) -> Machine | None:
    """The machine of that name; None when it is not installed, not wholly or no more."""
    found = installations.recorded(folder_of(name), Machine)
    if found is None or found.folder != str(folder_of(name)):
        return None
    there = all(os.access(program, os.X_OK) for program in (found.shell, found.python))
    return found if there else None


def install_command(name: str) -> str:
    """What a person types to get it."""
    return f"farm boards machine install {name}"
