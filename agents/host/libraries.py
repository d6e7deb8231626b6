"""Versions of vendors' libraries that must fit a driver, read from their files; none is loaded.

libGAL's own word is `$VERSION$6.4.6:351518$` (seen in public listings of VeriSilicon's driver and
libraries), libnvinfer's file name ends in its version. **Not verified by us on a board.**
"""

import os
import re
from typing import Dict, List

from ..runtimes.support.places import FOLDERS
from .files import find

MOST_BYTES = 64 << 20
_BLOCK, _OVERLAP = 1 << 20, 64
_GAL = re.compile(rb"\$VERSION\$([0-9]+(?:\.[0-9]+){2,3})")
_NVINFER = re.compile(r"libnvinfer\.so\.([0-9]+(?:\.[0-9]+)+)$")


def libraries(root: str = "/") -> Dict[str, str]:
    """`libGAL` and `libnvinfer` with their versions, as far as they are there and tell them."""
    found = {}
    gal = ""
    for path in _named(root, "libGAL.so*"):
        gal = gal or gal_version(path)
    if gal:
        found["libGAL"] = gal
    versions = [_NVINFER.search(path) for path in _named(root, "libnvinfer.so.*")]
    versions_found = [match.group(1) for match in versions if match]
    if versions_found:
        found["libnvinfer"] = max(versions_found, key=len)
    return found


def gal_version(path: str) -> str:
    """What a libGAL says of itself in its bytes (`6.4.6`); empty when it does not."""
    overlap, left = b"", MOST_BYTES
    try:
        with open(path, "rb") as file:
            while left > 0:
                block = file.read(_BLOCK)
                if not block:
                    break
                left -= len(block)
                match = _GAL.search(overlap + block)
                if match:
                    return match.group(1).decode("ascii")
                overlap = block[-_OVERLAP:]
    except (IOError, OSError):
        pass
    return ""


def loaded(name: str, maps: str = "/proc/self/maps") -> str:
    """Path of a library of this process (`libGAL.so`); empty when it has none of that name."""
    try:
        with open(maps, "rb") as file:
            lines = file.read(1 << 22).decode("utf-8", "replace").splitlines()
    except (IOError, OSError):
        return ""
    for line in lines:
        path = line.partition("/")[2]
        if os.path.basename(path).startswith(name):
            return "/" + path
    return ""


def _named(root: str, name: str) -> List[str]:
    return [path for folder in FOLDERS for path in find(root, folder + "/" + name, 8)]
