"""What names this board: its device tree, its chip, its accelerators' drivers. Files only.

Nothing is judged here: the head holds what is told against what the inventory says.
"""

import os
from typing import Any, Dict, List

from . import emulation
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
    """What this board's files tell of what it is; what is not reported is left out.

    `compatible`: the device tree's names, the most specific first. `soc`: family and id of each
    chip that the kernel names (`Tegra 25`). `accelerators`: those whose driver is there.
    `processors`: of which architecture /proc/cpuinfo speaks, whatever `uname` says: `x86`, `arm64`
    or `arm32`. `cores`: implementer and part of each kind of ARM core. `firmware`: what of a
    virtual machine's firmware is there: vendor and product of its DMI, a hypervisor, QEMU's own.
    `execution`: whether a processor or software executes (`emulation.py`).
    """
    found = {
        "processors": _processors(root),
        "cores": _cores(root),
        "firmware": _firmware(root),
        "compatible": _compatible(root),
        "soc": _chips(root),
        "accelerators": _accelerators(root),
        "execution": emulation.traces(root),
    }
    return {name: value for name, value in found.items() if value}


def _cpuinfo(root: str) -> List[List[str]]:
    lines = read_text(os.path.join(root, "proc/cpuinfo"), 1 << 14).splitlines()
    return [[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]


def _processors(root: str) -> str:
    for key, value in _cpuinfo(root):
        if key == "flags":
            return "x86"
        if key == "Features":
            # What runs 32-bit programs on a 64-bit kernel shows these the 32-bit features.
            return "arm64" if "asimd" in value.split() else "arm32"
    return ""


def _cores(root: str) -> List[str]:
    cores: List[str] = []
    implementer = ""
    for key, value in _cpuinfo(root):
        if key == "CPU implementer":
            implementer = value[:20]
        elif key == "CPU part":
            core = "%s %s" % (implementer, value[:20])
            if core not in cores:
                cores.append(core)
    return cores[:8]


def _firmware(root: str) -> List[str]:
    places = ("sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name", "sys/hypervisor/type")
    found = [read_text(os.path.join(root, place), 100) for place in places]
    if os.path.exists(os.path.join(root, "sys/firmware/qemu_fw_cfg")):
        found.append("QEMU fw_cfg")
    return [text for text in found if text]


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
