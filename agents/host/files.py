"""Small files of sysfs and procfs, read without ever failing."""

import glob
import os
from typing import List, Optional

_MOST = 64  # of one kind; a board with more tells enough with these


def read_text(path: str, limit: int = 4096) -> str:
    """A small file's text without the white space around it; empty when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode("utf-8", "replace").strip("\0 \t\r\n")
    except (IOError, OSError):
        return ""


def read_int(path: str) -> Optional[int]:
    """A small file's whole number; None when there is none."""
    try:
        return int(read_text(path, 64))
    except ValueError:
        return None


def find(root: str, pattern: str, most: int = _MOST) -> List[str]:
    """Paths below `root` that fit a glob pattern, sorted; each place once, links followed."""
    found, places = [], set()
    for path in sorted(glob.glob(os.path.join(root, pattern.lstrip("/")))):
        place = os.path.realpath(path)
        if place not in places:
            places.add(place)
            found.append(path)
    return found[:most]
