"""A project's folder, found upward from where one stands, as cargo and git find theirs."""

from __future__ import annotations

import os
from pathlib import Path

# `.farm` alone is none: a board has its agent's files in a folder of that name.
MARKS = ("matrix.yaml", "device_inventory.yaml", ".farm/store", "runs/latest")


def find_root(here: Path) -> Path | None:
    """The nearest folder that holds a project, `here` or above it; None when there is none.

    A folder above that belongs to somebody else is skipped: its files could name programs.
    """
    for folder in (here, *here.parents):
        own = folder == here or folder.stat().st_uid == os.geteuid()
        if own and any(os.path.lexists(folder / mark) for mark in MARKS):
            return folder
    return None
