"""What this board answers, as files: enough to show another computer the same board.

Only the files named here are read. None of them holds a serial number, a host name or a key, but
for lines that the head takes out before anything is written.
"""

import os
import re
from typing import Any, Dict, List

from .. import runtimes
from ..measurement.telemetry import Telemetry
from ..protocol.errors import AgentError
from ..runtimes.support.places import FOLDERS
from .facts import describe
from .files import find
from .identity import ACCELERATORS

_CPU = "sys/devices/system/cpu/cpu[0-9]*"
PATTERNS = (
    "proc/device-tree/model",
    "proc/device-tree/compatible",
    "proc/device-tree/cpus/cpu@*/compatible",
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/loadavg",
    "proc/stat",
    "proc/rknpu/version",
    "proc/driver/nvidia/version",
    "etc/os-release",
    "etc/nv_tegra_release",
    "var/lib/nvpmodel/status",
    "sys/devices/soc0/family",
    "sys/devices/soc0/machine",
    "sys/devices/soc[0-9]*/soc_id",
    "sys/bus/soc/devices/*/family",
    "sys/bus/soc/devices/*/soc_id",
    "sys/class/dmi/id/sys_vendor",
    "sys/class/dmi/id/product_name",
    "sys/hypervisor/type",
    "sys/devices/system/clocksource/clocksource0/available_clocksource",
    "sys/class/ptp/*/clock_name",
    "sys/class/thermal/thermal_zone*/type",
    "sys/class/thermal/thermal_zone*/temp",
    "sys/class/thermal/thermal_zone*/trip_point_*_temp",
    "sys/class/thermal/thermal_zone*/trip_point_*_type",
    "sys/class/thermal/cooling_device*/type",
    "sys/class/thermal/cooling_device*/cur_state",
    "sys/class/thermal/cooling_device*/max_state",
    _CPU + "/cpufreq/scaling_cur_freq",
    _CPU + "/cpufreq/scaling_min_freq",
    _CPU + "/cpufreq/scaling_max_freq",
    _CPU + "/cpufreq/scaling_governor",
    _CPU + "/cpufreq/cpuinfo_max_freq",
    _CPU + "/thermal_throttle/*_throttle_count",
    "sys/class/devfreq/*/cur_freq",
    "sys/class/devfreq/*/min_freq",
    "sys/class/devfreq/*/max_freq",
    "sys/class/devfreq/*/governor",
    "sys/class/hwmon/hwmon*/name",
    "sys/class/hwmon/hwmon*/power*_input",
    "sys/class/hwmon/hwmon*/curr*_input",
    "sys/class/hwmon/hwmon*/in*_input",
    "sys/class/hwmon/hwmon*/*_label",
    "sys/class/hwmon/hwmon*/oc*_event_cnt",
    "sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_power*_input",
    "sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*",
    "sys/module/galcore/version",
    "sys/module/rknpu/version",
    "sys/module/nvidia/version",
    "sys/module/nvgpu/version",
    "sys/kernel/debug/gc/version",
    "sys/kernel/debug/rknpu/version",
    "sys/kernel/debug/clk/*npu*/clk_rate",
)
# Of which it matters that they are there, or what they say of their version.
BELOW = ("libGAL", "libOpenVX", "libvx_delegate", "libnvinfer", "libcudart")
_WORDS = re.compile(rb"librknn[a-z_]* version:? ?[0-9][ -~]{0,80}|\$VERSION\$[0-9.]+(?::[0-9]+)?\$")
_BYTES, _ALL_BYTES, _LIBRARY_BYTES = 4096, 400000, 64 << 20


def record(root: str = "/") -> Dict[str, Any]:
    """`hello` as a session tells it, `files` by their paths, `present` with a library's words."""
    files: Dict[str, str] = {}
    left = _ALL_BYTES
    for pattern in PATTERNS:
        for path in find(root, pattern):
            text = _text(path)
            if text is not None and len(text) <= left:
                files["/" + os.path.relpath(path, root)] = text
                left -= len(text)
    present = {}
    for path in _places(root):
        present["/" + os.path.relpath(path, root)] = _words(path)
    return {"hello": describe(Telemetry(root), root), "files": files, "present": present}


def _text(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            # A device tree's texts end in zeros, which belong to what a reader expects.
            return file.read(_BYTES).decode("utf-8", "replace")
    except (IOError, OSError):
        return None


def _places(root: str) -> List[str]:
    found = []
    for _, places in ACCELERATORS:
        found += [os.path.join(root, place.lstrip("/")) for place in places]
    stems = list(BELOW)
    for name in runtimes.names():
        try:
            stems += [each.split(".so")[0] for each in runtimes.descriptor(name).libraries]
        except AgentError:  # one that this Python cannot load has no library here that matters
            continue
    for folder in FOLDERS:
        for stem in stems:
            found += find(root, folder + "/" + stem + ".so*", 8)
    return [path for path in found if os.path.exists(path)]


def _words(path: str) -> str:
    if not os.path.isfile(path) or ".so" not in os.path.basename(path):
        return ""
    try:
        with open(path, "rb") as file:
            found = _WORDS.search(file.read(_LIBRARY_BYTES))
    except (IOError, OSError):
        return ""
    return found.group().decode("ascii", "replace") if found else ""
