"""A run's folder: the names of what is in it, and how it comes to be."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError

EVENTS, REQUEST, LATEST, LOG = "events.jsonl", "request.json", "latest", "driver.log"
REMOTE = "remote.json"
"""In the folder of a run that a server carries out: where it is."""


def new_name() -> str:
    """A name for a run that begins now; names sort by time."""
    return time.strftime("%Y%m%d-%H%M%S-") + os.urandom(2).hex()


def make_folder(folder: Path, request: Mapping[str, Any], *, latest: bool = True) -> None:
    """Make a run's folder, which becomes the latest only when it says what is asked for.

    Args:
        folder: its name is from `new_name`.
        request: plain JSON.
        latest: whether it becomes the latest.

    Raises:
        UserError: it cannot be made.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(mode=0o700)
        with open(folder / REQUEST, "w") as file:
            json.dump(request, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        if latest:
            point_latest_to(folder)
    except OSError as error:
        raise UserError(
            f"cannot make a folder for this run in {folder.parent}: {error.strerror}",
            "name a folder that this user may write to: --runs DIR",
        ) from error


def point_latest_to(folder: Path) -> None:
    """Make a run the one that `latest` names."""
    link = folder.parent / f".latest.{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(folder.parent / LATEST)
