"""A project's folder, found upward from where one stands, as cargo and git find theirs."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# `.farm` alone is none: a board has its agent's files in a folder of that name.
MARKS = ("matrix.yaml", "device_inventory.yaml", ".farm/store", "runs/latest")


def find_root(here: Path) -> Path | None:
    """The nearest folder that holds a project, `here` or above it; None when there is none.

    A folder above that belongs to somebody else, or that anybody may write to (/tmp), is skipped:
    its files could name programs.
    """
    for folder in (here, *here.parents):
        if (folder == here or _is_own(folder)) and any(
            os.path.lexists(folder / mark) for mark in MARKS
        ):
            return folder
    return None


def _is_own(folder: Path) -> bool:
    found = folder.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & stat.S_IWOTH
