"""Where the environments are that `farm toolchain install` made, and what is in them.

They are the user's, not a project's: a vendor's toolkit takes gigabytes. An environment exists
once its record does, which is written last; whatever else lies in its folder is an installation
that did not come to its end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

VARIABLE = "FARM_TOOLCHAINS"
RECORD = "installed.json"


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


def root() -> Path:
    """The folder of all environments: FARM_TOOLCHAINS, else farm's place among the user's data."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser().absolute() / "farm" / "toolchains"


def folder_of(name: str) -> Path:
    """The folder of one environment, whether it is there or not."""
    return root() / name


def find(name: str) -> Environment | None:
    """The environment of that name; None when it is not installed, not wholly or no more."""
    try:
        record = json.loads((folder_of(name) / RECORD).read_text("utf-8"))
        found = Environment(**{key: record[key] for key in Environment.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if os.access(found.python, os.X_OK) else None
