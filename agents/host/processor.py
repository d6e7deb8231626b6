"""What the processor calls itself."""

import os
import platform
from typing import Dict

from .files import read_text


def name(root: str = "/") -> str:
    """The model name; of an ARM processor without one, what names its design."""
    names = cpuinfo(root)
    for key in ("model name", "Model", "Hardware", "Processor", "cpu model"):
        if names.get(key):
            return names[key][:200] + _numbers(names)
    if names.get("CPU part"):
        return "%s CPU implementer %s part %s" % (
            platform.machine(),
            names.get("CPU implementer", "?"),
            names["CPU part"],
        )
    return platform.machine()


def cpuinfo(root: str = "/") -> Dict[str, str]:
    """What /proc/cpuinfo says of the first processor."""
    names: Dict[str, str] = {}
    for line in read_text(os.path.join(root, "proc/cpuinfo"), 1 << 16).splitlines():
        key, _, value = line.partition(":")
        names.setdefault(key.strip(), value.strip())
    return names


def _numbers(names: Dict[str, str]) -> str:
    """CPUID's numbers, where a virtual machine may hide the model.

    "AMD EPYC" or "Intel(R) Xeon(R) CPU @ 2.20GHz" are processors of several generations, for which
    onnxruntime has other kernels: neither time nor features of one are those of another.
    """
    if "hypervisor" not in names.get("flags", "").split():
        return ""
    if not (names.get("cpu family") and names.get("model")):
        return ""
    return " (family %s, model %s)" % (names["cpu family"], names["model"])
