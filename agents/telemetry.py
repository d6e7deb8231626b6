"""What a board's kernel tells of heat, clocks, throttling, memory and power. Files only."""

import glob
import os
from typing import Any, Dict, List, Optional

_CPU = "sys/devices/system/cpu"


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


class Telemetry(object):
    """Reads the sensors below `root`, whose places are looked up once.

    A sample has `temperatures_c` by zone, `temperature_c` (the hottest), `clocks_mhz` by CPU and
    accelerator, `clock_mhz` (the fastest CPU's), `governors`, `throttling` (cooling devices that
    are at work, with their step), `memory_available_bytes`, `load_1m`, `power_w` by rail. What the
    board does not tell is left out.
    """

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._zones = self._find("sys/class/thermal/thermal_zone*")
        self._coolers = self._find("sys/class/thermal/cooling_device*")
        self._cpus = self._find(_CPU + "/cpu[0-9]*/cpufreq")
        self._devfreq = self._find("sys/class/devfreq/*")
        self._rails = self._find("sys/class/hwmon/hwmon*")

    def _find(self, pattern: str) -> List[str]:
        return sorted(glob.glob(os.path.join(self._root, pattern)))[:64]

    def sample(self) -> Dict[str, Any]:
        """What the sensors say now."""
        found: Dict[str, Any] = {}
        self._heat(found)
        self._clocks(found)
        throttling = self._throttling()
        if throttling:
            found["throttling"] = throttling
        power = self._power()
        if power:
            found["power_w"] = power
        available = self.memory("MemAvailable")
        if available is not None:
            found["memory_available_bytes"] = available
        load = read_text(os.path.join(self._root, "proc/loadavg")).split()
        if load:
            try:
                found["load_1m"] = float(load[0])
            except ValueError:
                pass
        return found

    def memory(self, field: str) -> Optional[int]:
        """A line of /proc/meminfo, in bytes."""
        for line in read_text(os.path.join(self._root, "proc/meminfo"), 8192).splitlines():
            words = line.split()
            if len(words) >= 2 and words[0] == field + ":" and words[1].isdigit():
                return int(words[1]) * 1024
        return None

    def _heat(self, found: Dict[str, Any]) -> None:
        heat = {}
        for zone in self._zones:
            value = read_int(os.path.join(zone, "temp"))
            # Sensors that are switched off answer with absurd values.
            if value is not None and -60000 < value < 250000 and value != 0:
                name = read_text(os.path.join(zone, "type"), 64) or os.path.basename(zone)
                if name in heat:
                    name = "%s (%s)" % (name, os.path.basename(zone))
                heat[name] = value / 1000.0
        if heat:
            found["temperatures_c"] = heat
            found["temperature_c"] = max(heat.values())

    def _clocks(self, found: Dict[str, Any]) -> None:
        clocks, governors, cpu = {}, {}, []
        for folder in self._cpus:
            khz = read_int(os.path.join(folder, "scaling_cur_freq"))
            name = os.path.basename(os.path.dirname(folder))
            if khz:
                clocks[name] = khz / 1000.0
                cpu.append(khz / 1000.0)
            governor = read_text(os.path.join(folder, "scaling_governor"), 64)
            if governor:
                governors[name] = governor
        for folder in self._devfreq:
            hertz = read_int(os.path.join(folder, "cur_freq"))
            name = os.path.basename(folder)
            if hertz:
                clocks[name] = hertz / 1e6
            governor = read_text(os.path.join(folder, "governor"), 64)
            if governor:
                governors[name] = governor
        if clocks:
            found["clocks_mhz"] = clocks
        if cpu:
            found["clock_mhz"] = max(cpu)
        if governors:
            found["governors"] = governors

    def _throttling(self) -> Dict[str, int]:
        active = {}
        for folder in self._coolers:
            kind = read_text(os.path.join(folder, "type"), 64)
            state = read_int(os.path.join(folder, "cur_state"))
            # A fan at work is not throttling; a slowed processor is.
            if state and "fan" not in kind.lower():
                active["%s (%s)" % (kind, os.path.basename(folder))] = state
        return active

    def _power(self) -> Dict[str, float]:
        power: Dict[str, float] = {}
        for folder in self._rails:
            chip = read_text(os.path.join(folder, "name"), 64)
            for path in sorted(glob.glob(os.path.join(folder, "power*_input")))[:16]:
                micro = read_int(path)
                if micro is not None:
                    power[self._rail(folder, chip, path, "power")] = micro / 1e6
            # INA3221 (Jetson) gives millivolts and milliamperes for each rail.
            for path in sorted(glob.glob(os.path.join(folder, "curr*_input")))[:16]:
                number = os.path.basename(path)[len("curr") : -len("_input")]
                milliamperes = read_int(path)
                millivolts = read_int(os.path.join(folder, "in%s_input" % number))
                if milliamperes is not None and millivolts is not None:
                    place = os.path.join(folder, "in%s_input" % number)
                    power[self._rail(folder, chip, place, "in")] = milliamperes * millivolts / 1e6
        return power

    @staticmethod
    def _rail(folder: str, chip: str, path: str, kind: str) -> str:
        number = os.path.basename(path)[len(kind) : -len("_input")]
        label = read_text(os.path.join(folder, "%s%s_label" % (kind, number)), 64)
        return label or "%s %s%s" % (chip, kind, number)
