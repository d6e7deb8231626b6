"""What names this board: its device tree, its chip, its accelerators' drivers. Files only.

Nothing is judged here: the head holds what is told against what the inventory says.
"""

import os
from typing import Any, Dict, List

from .files import find, read_text

NAMES = 32
# An accelerator's driver is there where one of these is. debugfs is for root alone, so it is not
# the only place of any.
ACCELERATORS = (
    ("galcore", ("/dev/galcore", "/sys/module/galcore", "/sys/bus/platform/drivers/galcore")),
    (
        "rknpu",
        (
            "/dev/rknpu",
            "/sys/module/rknpu",
            "/proc/rknpu",
            "/sys/bus/platform/drivers/RKNPU",
            "/sys/kernel/debug/rknpu",
        ),
    ),
    (
        "nvgpu",
        ("/sys/module/nvgpu", "/dev/nvhost-gpu", "/dev/nvhost-ctrl-gpu", "/dev/nvgpu/igpu0"),
    ),
    ("nvidia", ("/proc/driver/nvidia/version", "/dev/nvidia0")),
)


def identity(root: str = "/") -> Dict[str, Any]:
    """What this board's files tell of what it is; what is not told is left out.

    `compatible`: the device tree's names, the most specific first. `soc`: family and id of each
    chip that the kernel names (`Tegra 25`). `accelerators`: those whose driver is there.
    """
    found = {
        "compatible": _compatible(root),
        "soc": _chips(root),
        "accelerators": _accelerators(root),
    }
    return {name: value for name, value in found.items() if value}


def _compatible(root: str) -> List[str]:
    text = read_text(os.path.join(root, "proc/device-tree/compatible"))
    return [name[:100] for name in text.split("\0") if name.strip()][:NAMES]


def _chips(root: str) -> List[str]:
    chips: List[str] = []
    for folder in find(root, "sys/devices/soc[0-9]*", 8) + find(root, "sys/bus/soc/devices/*", 8):
        parts = [read_text(os.path.join(folder, name), 100) for name in ("family", "soc_id")]
        chip = " ".join(part for part in parts if part)
        if chip and chip not in chips:
            chips.append(chip)
    return chips


def _accelerators(root: str) -> List[str]:
    return [
        name
        for name, places in ACCELERATORS
        if any(os.path.exists(os.path.join(root, place.lstrip("/"))) for place in places)
    ]
