"""Processors that this host can emulate for a board, where `farm boards machine install` put them.

They are the user's, not a project's. A machine exists once its record does, which is written last.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

VARIABLE = "FARM_MACHINES"
RECORD = "installed.json"

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


def root() -> Path:
    """The folder of all machines: FARM_MACHINES, else farm's place among the user's data."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser().absolute() / "farm" / "machines"


def folder_of(name: str) -> Path:
    """The folder of one machine, whether it is there or not."""
    return root() / name


def find(name: str) -> Machine | None:
    """The machine of that name; None when it is not installed, not wholly or no more."""
    try:
        record = json.loads((folder_of(name) / RECORD).read_text("utf-8"))
        found = Machine(**{key: record[key] for key in Machine.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    there = all(os.access(program, os.X_OK) for program in (found.shell, found.python))
    return found if there and found.folder == str(folder_of(name)) else None


def install_command(name: str) -> str:
    """What a person types to get it."""
    return f"farm boards machine install {name}"
