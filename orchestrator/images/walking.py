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
    """Whether this is what systems and people leave beside images, to be ignored silently."""
    low = name.lower()
    if folder:
        return low in _LITTER_FOLDERS
    if low in _LITTER_NAMES or name.startswith("._"):
        return True
    return os.path.splitext(low)[1] in _LITTER_SUFFIXES


def walk(folder: Path) -> Walk:
    """Everything below `folder`, linked folders included."""
    root = os.fspath(folder)
    files: list[str] = []
    found = Walk()
    _into(root, (), files, found)
    # As paths are compared: part by part.
    found.files = [Path(text) for text in sorted(files, key=lambda text: text.split(os.sep))]
    found.folders.sort()
    return found


def _into(folder: str, above: tuple[str, ...], files: list[str], found: Walk) -> None:
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError as error:
        why = f"a folder that cannot be read: {error.strerror or error}"
        found.odd[Path(folder)] = why
        return
    for entry in entries:
        if entry.is_dir():
            if is_litter(entry.name, folder=True):
                continue
            if not above:
                found.folders.append(Path(entry.path))
            if entry.is_symlink() and _holds(entry.path, (*above, folder)):
                where = os.path.realpath(entry.path)
                found.odd[Path(entry.path)] = f"a link to a folder above it ({where})"
            else:
                _into(entry.path, (*above, folder), files, found)
        elif is_litter(entry.name):
            continue
        elif entry.is_file():
            files.append(entry.path)
        elif entry.is_symlink():
            found.odd[Path(entry.path)] = f"a broken link (to {os.readlink(entry.path)})"
        else:
            found.odd[Path(entry.path)] = "no regular file"


def _holds(link: str, above: tuple[str, ...]) -> bool:
    """Whether a link leads to one of the folders that it lies in."""
    return any(os.path.samefile(link, folder) for folder in above)
