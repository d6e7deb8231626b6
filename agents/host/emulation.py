"""What shows whether a processor or software executes here: the traces that an emulator leaves.

Nothing is judged here. A virtual machine's files look alike whether its computer's own processor
executes it (KVM) or software does (QEMU's TCG); these are the places where they differ.
"""

import os
import subprocess
import sys
from typing import Any, Dict, List

from . import processor
from .files import find, read_text

_CLOCKS = "sys/devices/system/clocksource/clocksource0/available_clocksource"
# ELF's `e_machine`.
_ELF = {3: "x86", 62: "x86", 40: "arm32", 183: "arm64"}
UNNAMED = "unnamed"
_VENDOR_S = 20.0
# x86-64 alone: CPUID's leaf 0x40000000 has the hypervisor's name in EBX, ECX and EDX. No file of
# Linux has it. In a process of its own, since a system may forbid such pages or the instruction.
_VENDOR = """
import binascii, ctypes, mmap, struct
code = binascii.unhexlify("5389f831c90fa28906895e04894e0889560c5bc3")
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
found = (ctypes.c_uint32 * 4)()
call = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_void_p)
call(ctypes.addressof(ctypes.c_char.from_buffer(page)))(0x40000000, ctypes.addressof(found))
print(struct.pack("<3I", *found[1:]).decode("ascii", "replace").strip("\\0"))
"""


def traces(root: str = "/") -> Dict[str, Any]:
    """What tells a processor from software; what is not reported is left out, but for `v`.

    `program`: name and architecture of the program that the kernel sees in this process, where
    that is another than what the process itself is shown (QEMU's user mode shows it Python).
    `hypervisor`: the name by CPUID, or `unnamed`, where there is one (x86). `clocks`: of the
    kernel. `cpu_nodes`: the device tree's names of the processors. `bogomips`: of an ARM core,
    which is its timer's rate in MHz, doubled. `ptp`: clocks that a hypervisor offers. `cpu`: the
    processor's name where it is one of QEMU's.
    """
    cpuinfo = processor.cpuinfo(root)
    clocks = read_text(os.path.join(root, _CLOCKS), 1000).split()
    name = cpuinfo.get("model name", "")
    found = {
        "program": program(),
        "hypervisor": _hypervisor(root, cpuinfo, clocks),
        "clocks": clocks[:16],
        "cpu_nodes": _cpu_nodes(root),
        "bogomips": cpuinfo.get("BogoMIPS", "")[:20],
        "ptp": [read_text(path, 100) for path in find(root, "sys/class/ptp/*/clock_name", 4)],
        "cpu": name[:100] if "QEMU" in name else "",
    }
    return dict({key: value for key, value in found.items() if value}, v=1)


def program() -> List[str]:
    """Name and architecture of what executes Python where that is not a processor; else empty.

    QEMU answers for `/proc/self/exe` itself, and leaves the same link of a thread alone.
    """
    try:
        shown = os.readlink("/proc/self/exe")
        place = "/proc/self/task/%d/exe" % os.getpid()
        seen = os.readlink(place)
        if shown == seen:
            return []
        with open(place, "rb") as file:
            head = file.read(20)
    except (IOError, OSError):
        return []
    order = "big" if head[5:6] == b"\2" else "little"
    machine = int.from_bytes(head[18:20], order)  # type: ignore[arg-type]  # a literal of two
    return [os.path.basename(seen)[:100], _ELF.get(machine, "ELF machine %d" % machine)]


def _hypervisor(root: str, cpuinfo: Dict[str, str], clocks: List[str]) -> str:
    if "hypervisor" not in cpuinfo.get("flags", "").split():
        return ""
    # Another root's files are another board's. Where there is KVM's clock, KVM is no question.
    if root != "/" or "kvm-clock" in clocks or os.uname().machine != "x86_64":
        return UNNAMED
    try:
        name = subprocess.check_output(
            [sys.executable or "python3", "-c", _VENDOR],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_VENDOR_S,
        )
    except (OSError, subprocess.SubprocessError):
        return UNNAMED
    return name.decode("ascii", "replace").strip()[:20] or UNNAMED


def _cpu_nodes(root: str) -> List[str]:
    names: List[str] = []
    for path in find(root, "proc/device-tree/cpus/cpu@*/compatible"):
        for name in read_text(path, 400).split("\0"):
            if name and name not in names:
                names.append(name[:100])
    return names[:8]
