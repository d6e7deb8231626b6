"""A project's folder, found upward from where one stands, as cargo and git find theirs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


class Default(str):
    """A path that nobody typed: it is meant in the project's folder, wherever one stands."""


MATRIX = Default("matrix.yaml")
INVENTORY = Default("device_inventory.yaml")
STATE = Default(".farm")
RUNS = Default("runs")

# `.farm` alone is none: a board has its agent's files in a folder of that name.
MARKS = ("matrix.yaml", "device_inventory.yaml", ".farm/store", "runs/latest")
NO_PROJECT = (
    "there is no project here or in a folder above it (no matrix.yaml, no device_inventory.yaml); "
    "`farm init` makes one"
)
_PATHS = frozenset(
    {
        *("matrix", "inventory", "state", "runs", "output", "plot", "key", "config", "images"),
        *("file", "features", "templates"),
    }
)
_MAYBE = frozenset({"run", "first", "second", "baseline", "gallery", "probes", "images"})


def find_root(here: Path) -> Path | None:
    """The nearest folder that holds a project, `here` or above it; None when there is none.

    A folder above that belongs to somebody else is skipped: its files could name programs.
    """
    for folder in (here, *here.parents):
        own = folder == here or folder.stat().st_uid == os.geteuid()
        if own and any(os.path.lexists(folder / mark) for mark in MARKS):
            return folder
    return None


def wants_project(arguments: argparse.Namespace) -> bool:
    """Whether a command was left to find the project's files itself."""
    return any(isinstance(value, Default) for value in vars(arguments).values())


def enter(arguments: argparse.Namespace) -> bool:
    """Go to the project's folder when one stands below it; what was typed is meant from here.

    Returns:
        Whether there is a project, or none is wanted.
    """
    if not wants_project(arguments):
        return True
    here = Path.cwd()
    root = find_root(here)
    if root is None:
        return False
    if root != here:
        for name, value in vars(arguments).items():
            setattr(arguments, name, _from(here, name, value))
        os.chdir(root)
        print(f"farm: in the project {root}", file=sys.stderr)
    return True


def _from(here: Path, name: str, value: object) -> object:
    if isinstance(value, list):
        return [_from(here, name, each) for each in value]
    if not isinstance(value, str) or isinstance(value, Default) or value.startswith("~"):
        return value
    path = here / value
    if name in _PATHS or (name in _MAYBE and path.exists()):
        return str(path)
    return value
