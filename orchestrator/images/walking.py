"""Which files lie below a folder of images, and what lies there that is none."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

_LITTER_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini", ".gitkeep", ".gitignore"})
_LITTER_FOLDERS = frozenset({".ipynb_checkpoints", "__macosx", "@eadir", ".git"})
_LITTER_SUFFIXES = frozenset({".txt", ".json", ".md", ".csv"})


@dataclass
class Walk:
    """What lies below a folder.

    Attributes:
        files: all files that may be images, sorted; links are followed.
        odd: what is neither a file nor a folder that can be looked into, and why.
        folders: the folders directly below, sorted.
    """

    files: list[Path] = field(default_factory=list)
    odd: dict[Path, str] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)


def is_litter(name: str, folder: bool = False) -> bool:
    """Whether this is what systems and people leave beside images, to be passed over silently."""
    low = name.lower()
    if folder:
        return low in _LITTER_FOLDERS
    if low in _LITTER_NAMES or name.startswith("._"):
        return True
    return os.path.splitext(low)[1] in _LITTER_SUFFIXES


def walk(folder: Path) -> Walk:
    """Everything below `folder`, linked folders included."""
    found = Walk()
    _into(folder, found, frozenset({_identity(folder)}))
    found.folders = sorted(
        path
        for path in found.folders
        if path.parent == folder and not is_litter(path.name, folder=True)
    )
    found.files.sort()
    return found


def _into(folder: Path, found: Walk, above: frozenset[tuple[int, int]]) -> None:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        found.odd[folder] = f"a folder that cannot be read: {error.strerror or error}"
        return
    for name in names:
        path = folder / name
        if path.is_dir():
            if is_litter(name, folder=True):
                continue
            found.folders.append(path)
            identity = _identity(path)
            if identity in above:
                found.odd[path] = f"a link to a folder above it ({os.path.realpath(path)})"
            else:
                _into(path, found, above | {identity})
        elif is_litter(name):
            continue
        elif path.is_file():
            found.files.append(path)
        elif path.is_symlink():
            found.odd[path] = f"a broken link (to {os.readlink(path)})"
        else:
            found.odd[path] = "no regular file"


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
