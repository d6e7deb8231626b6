"""Where the environments are that `farm toolchain install` made, and what is in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import installations

VARIABLE = "FARM_TOOLCHAINS"


@dataclass(frozen=True)
class Environment:
    """A finished installation.

    Attributes:
        name: the toolchain's.
        folder: all that is its own.
        python: its interpreter.
        python_version: `3.11.7`.
        packages: distribution to version, of all that is installed in it.
        verified: what the conversion at the end of the installation gave.
    """

    name: str
    folder: str
    python: str
    python_version: str
    packages: Mapping[str, str] = field(default_factory=dict)
    verified: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def folder_of(name: str) -> Path:
    """The folder of one environment, whether it is there or not."""
    return installations.place(VARIABLE, "toolchains") / name


def find(name: str) -> Environment | None:
    """The environment of that name; None when it is not installed, not wholly or no more."""
    found = installations.recorded(folder_of(name), Environment)
    return found if found is not None and os.access(found.python, os.X_OK) else None
