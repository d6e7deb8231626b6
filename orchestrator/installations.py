"""What farm installs among the user's data: toolkits of vendors, processors for emulated boards.

They are the user's, not a project's: they take hundreds of megabytes. An installation exists once
its record does, which is written last; whatever else lies in its folder is of an attempt that did
not come to its end.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from orchestrator.errors import UserError

RECORD = "installed.json"
_LOCK = "lock"


class _Described(Protocol):
    """A dataclass whose fields are what its record holds."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=_Described)


def place(variable: str, name: str) -> Path:
    """The folder that a variable of the environment names, else `name` in the user's data."""
    named = os.environ.get(variable)
    if named:
        return Path(named).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser().absolute() / "farm" / name


def recorded(folder: Path, described: type[T]) -> T | None:
    """What the record of an installation holds; None when it is not there or damaged."""
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        return described(**{key: record[key] for key in described.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    temporary = path.with_suffix(".part")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def clear(folder: Path) -> None:
    """Remove all that an earlier installation left; the record first: nothing looks installed."""
    (folder / RECORD).unlink(missing_ok=True)
    for entry in folder.iterdir():
        if entry.name != _LOCK:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def remove(folder: Path) -> bool:
    """Delete an installation and what is left of attempts; returns whether there was anything.

    Raises:
        UserError: it is being installed.
    """
    if not folder.is_dir():
        return False
    with alone(folder):
        (folder / RECORD).unlink(missing_ok=True)
        shutil.rmtree(folder)
    return True


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from changing an installation.

    Raises:
        UserError: one does at this moment.
    """
    with open(folder / _LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder} is being installed or removed by another process", "wait for it to end"
            ) from None
        yield
