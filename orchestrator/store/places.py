"""The folders that `--state` and `--runs` name, looked at before anything is begun."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from orchestrator.errors import UserError

# What the system answers where a folder cannot be used, whoever asks and however often.
UNUSABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST})


def check_place(path: Path, option: str) -> None:
    """Refuse a place that is no folder, or one that may not be looked into; makes nothing.

    Args:
        path: need not exist.
        option: what names another one, such as `--state`.

    Raises:
        UserError: it cannot be used.
    """
    there = path
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise _unusable(path, option, f"{there} is a file, not a folder")
    if not os.access(there, os.R_OK | os.X_OK):
        raise _unusable(path, option, f"{there} may not be read by this user")


def check_writable(path: Path, option: str) -> None:
    """Make a folder where there is none, and refuse it where nothing can be written into it.

    Raises:
        UserError: it cannot be made or written into.
    """
    import tempfile  # late: most commands write nothing

    check_place(path, option)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise _unusable(path, option, f"cannot write there: {error.strerror or error}") from error


def explained(error: OSError, places: Mapping[str, str]) -> UserError | None:
    """A failed access below one of the places as what the person can do about it, else None.

    Args:
        error: as it was raised.
        places: option to the folder that it names.
    """
    if error.errno not in UNUSABLE or not isinstance(error.filename, (str, os.PathLike)):
        return None
    file = Path(os.path.abspath(error.filename))
    for option, place in places.items():
        if file.is_relative_to(os.path.abspath(place)):
            return _unusable(Path(place), option, f"{error.filename}: {error.strerror}")
    return None


def _unusable(path: Path, option: str, why: str) -> UserError:
    return UserError(
        f"{option} {path} cannot be used: {why}",
        f"name a folder that this user may write to: {option} DIR",
    )
