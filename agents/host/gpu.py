"""What a board's files tell of its GPU, and of a Jetson: no library is loaded, nothing is run.

Places of NVIDIA's driver on a PC: /proc/driver/nvidia (seen). Of a Jetson: the device tree (seen),
/etc/nv_tegra_release (documented), /var/lib/nvpmodel/status with `pmode:0002 ...`, the modes' names
in /etc/nvpmodel.conf as `< POWER_MODEL ID=2 NAME=MODE_15W_6CORE >`, and the package
`nvidia-jetpack` in dpkg's list: from public boards' listings, **not verified by us on a board**.
"""

import os
import re
from typing import Dict

from .files import find, read_text

_TEGRA = re.compile(r"nvidia,(tegra\d+)")
_RELEASE = re.compile(r"# R(\d+) \(release\), REVISION: ([\d.]+)")
_MODE = re.compile(r"pmode:0*(\d+)")
_PACKAGES = 32 << 20


def name(root: str = "/") -> str:
    """The GPU's name: `Tesla V100-SXM2-16GB`, `tegra194 GPU`; empty when there is none."""
    for path in find(root, "proc/driver/nvidia/gpus/*/information"):
        for line in read_text(path).splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "Model" and value.strip():
                return " ".join(value.split())[:100]
    tree = read_text(os.path.join(root, "proc/device-tree/compatible"))
    found = _TEGRA.search(tree)
    return found.group(1) + " GPU" if found else ""


def jetson(root: str = "/") -> Dict[str, str]:
    """`l4t` (`32.7.1`), `jetpack` and `power_mode` of a Jetson, as far as it reports them."""
    release = read_text(os.path.join(root, "etc/nv_tegra_release"), 400)
    if not release:
        return {}
    found = {}
    match = _RELEASE.match(release)
    if match:
        found["l4t"] = "%s.%s" % match.groups()
    jetpack = _package(os.path.join(root, "var/lib/dpkg/status"), "nvidia-jetpack")
    if jetpack:
        found["jetpack"] = jetpack
    mode = _MODE.search(read_text(os.path.join(root, "var/lib/nvpmodel/status"), 200))
    if mode:
        known = read_text(os.path.join(root, "etc/nvpmodel.conf"), 1 << 18)
        named = re.search(r"POWER_MODEL ID=%s NAME=(\S+)" % mode.group(1), known)
        words = mode.group(1) + (" " + named.group(1) if named else "")
        found["power_mode"] = words[:100]
    return found


def _package(path: str, package: str) -> str:
    """A package's version in dpkg's list, read line by line."""
    try:
        with open(path, "rb") as file:
            inside, left = False, _PACKAGES
            for line in file:
                left -= len(line)
                if left < 0:
                    break
                if line.startswith(b"Package: "):
                    inside = line[9:].strip() == package.encode("ascii")
                elif inside and line.startswith(b"Version: "):
                    return line[9:].strip().decode("utf-8", "replace")[:100]
    except (IOError, OSError):
        pass
    return ""
