"""What a board's kernel tells of heat, clocks, throttling, memory, load and power. Files only."""

import os
from fnmatch import fnmatch
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..host import gpu
from ..host.files import find, read_int, read_text
from .power import Rails

_CPU = "sys/devices/system/cpu"
# Cooling devices whose work slows no processor down, or whose step says something else than work.
_HARMLESS = (
    "*fan*",
    "tcc offset*",
    "*iwlwifi*",
    "*wifi*",
    "*mt76*",
    "ath1*",
    "*modem*",
    "*charg*",
    "*lcd*",
    "*backlight*",
)


class Telemetry(object):
    """Reads the sensors below `root`, whose places are looked up once.

    A sample has `temperatures_c` by zone, `temperature_c` (the hottest), `clocks_mhz` by CPU and
    accelerator, `clock_mhz` (the fastest CPU's), `limits_mhz` (the highest clock that is allowed
    now) and `highest_mhz` where the hardware could do more, `governors`, `cooling_devices` (how
    many there are that slow something down), `throttling` (those at work, with their step),
    `throttle_events` (counters that rise with each event), `memory_available_bytes`, `load_1m`,
    `power_w` and `energy_j` by rail. What the board does not tell is left out.

    Args:
        root: where sysfs and procfs are found.
        zones: patterns of the thermal zones that count for `temperature_c`; all when none fits.
        clocks: patterns of more files with a clock in Hz, which cpufreq and devfreq do not have.
        cards: graphics cards (`nvml.Gpu`) that the kernel does not tell of.
    """

    def __init__(
        self,
        root: str = "/",
        zones: Sequence[str] = (),
        clocks: Sequence[str] = (),
        cards: Sequence[Any] = (),
    ) -> None:
        self._root = root
        self._cards = list(cards)
        self._wanted = list(zones)
        self._zones = find(root, "sys/class/thermal/thermal_zone*")
        self._coolers = [
            folder
            for folder in find(root, "sys/class/thermal/cooling_device*")
            if not _fits(read_text(os.path.join(folder, "type"), 64).lower(), _HARMLESS)
        ]
        self._cpus = find(root, _CPU + "/cpu[0-9]*/cpufreq")
        self._devfreq = find(root, "sys/class/devfreq/*")
        self._clocks = [path for pattern in clocks for path in find(root, pattern, 8)]
        self._counters = find(root, _CPU + "/cpu[0-9]*/thermal_throttle/*_throttle_count")
        # Over-current throttling of Jetsons.
        self._counters += find(root, "sys/class/hwmon/hwmon*/oc*_event_cnt", 8)
        self._rails = Rails(root)

    def sample(self) -> Dict[str, Any]:
        """What the sensors say now."""
        found: Dict[str, Any] = {}
        self._heat(found)
        self._speed(found)
        if self._coolers or self._cards:
            found["cooling_devices"] = len(self._coolers) + len(self._cards)
        for name, values in (
            ("throttling", self._throttling()),
            ("throttle_events", self._events()),
            ("power_w", self._of_cards(self._rails.watts(), "power_w")),
            ("energy_j", self._of_cards(self._rails.joules(), "energy_j")),
        ):
            if values:
                found[name] = values
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
        heat: Dict[str, float] = {}
        for zone in self._zones:
            value = read_int(os.path.join(zone, "temp"))
            # Sensors that are switched off answer with absurd values.
            if value is not None and -60000 < value < 250000 and value != 0:
                name = read_text(os.path.join(zone, "type"), 64) or os.path.basename(zone)
                if name in heat:
                    name = "%s (%s)" % (name, os.path.basename(zone))
                heat[name] = value / 1000.0
        self._of_cards(heat, "temperature_c")
        if heat:
            found["temperatures_c"] = heat
            found["temperature_c"] = hottest(heat, self._wanted)

    def _speed(self, found: Dict[str, Any]) -> None:
        clocks: Dict[str, float] = {}
        limits: Dict[str, float] = {}
        highest: Dict[str, float] = {}
        governors: Dict[str, str] = {}
        cpu = []
        for folder in self._cpus:
            name = os.path.basename(os.path.dirname(folder))
            khz = read_int(os.path.join(folder, "scaling_cur_freq"))
            if khz:
                clocks[name] = khz / 1e3
                cpu.append(khz / 1e3)
            most = read_int(os.path.join(folder, "scaling_max_freq"))
            if most:
                limits[name] = most / 1e3
                hardware = read_int(os.path.join(folder, "cpuinfo_max_freq"))
                if hardware and hardware > most:
                    highest[name] = hardware / 1e3
            _keep(governors, name, read_text(os.path.join(folder, "scaling_governor"), 64))
        for folder in self._devfreq:
            name = os.path.basename(folder)
            hertz = read_int(os.path.join(folder, "cur_freq"))
            if hertz:
                clocks[name] = hertz / 1e6
            most = read_int(os.path.join(folder, "max_freq"))
            if most:
                limits[name] = most / 1e6
            _keep(governors, name, read_text(os.path.join(folder, "governor"), 64))
        for path in self._clocks:
            hertz = read_int(path)
            if hertz:
                clocks[os.path.basename(os.path.dirname(path))] = hertz / 1e6
        self._of_cards(clocks, "clock_mhz")
        if clocks:
            found["clocks_mhz"] = clocks
        if cpu:
            found["clock_mhz"] = max(cpu)
        if limits:
            found["limits_mhz"] = limits
        if highest:
            found["highest_mhz"] = highest
        if governors:
            found["governors"] = governors

    def _throttling(self) -> Dict[str, int]:
        active = {}
        for folder in self._coolers:
            state = read_int(os.path.join(folder, "cur_state"))
            if state is not None and state > 0:
                kind = read_text(os.path.join(folder, "type"), 64)
                active["%s (%s)" % (kind, os.path.basename(folder))] = state
        for card in self._cards:
            active.update(card.throttling())
        return active

    def _of_cards(self, into: Dict[str, float], what: str) -> Dict[str, float]:
        for card in self._cards:
            value = getattr(card, what)()
            if value is not None:
                into[card.name] = float(value)
        return into

    def _events(self) -> Dict[str, int]:
        events: Dict[str, int] = {}
        for path in self._counters:
            count, name = read_int(path), os.path.basename(path)
            if count is not None:
                events[name] = events.get(name, 0) + count
        return events

    def busy_s(self) -> Optional[float]:
        """Time that processors worked since the start, a hypervisor's share included."""
        first = read_text(os.path.join(self._root, "proc/stat"), 512).split("\n")[0].split()
        if len(first) < 5 or first[0] != "cpu":
            return None
        try:
            ticks = [int(word) for word in first[1:9]]
        except ValueError:
            return None
        # Without idle and waiting for a disk.
        return (sum(ticks) - sum(ticks[3:5])) / float(os.sysconf("SC_CLK_TCK"))


def hottest(zones: Mapping[str, float], wanted: Sequence[str]) -> float:
    """The highest temperature of the zones that are wanted, of all when none is."""
    chosen = [value for name, value in zones.items() if _fits(name, wanted)]
    return max(chosen or zones.values())


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _keep(into: Dict[str, str], name: str, value: str) -> None:
    if value:
        into[name] = value


def drivers(root: str = "/") -> Dict[str, str]:
    """Versions of accelerators' drivers and of the board's own software, where files tell them."""
    found: Dict[str, str] = {}
    for name, places in _DRIVERS:
        for place in places:
            lines = read_text(os.path.join(root, place), 400).splitlines()
            if lines:
                found[name] = " ".join(lines[0].split())[:200]
                break
    return dict(found, **gpu.jetson(root))


_DRIVERS: List[Any] = [
    ("galcore", ("sys/module/galcore/version", "sys/kernel/debug/gc/version")),
    (
        "rknpu",
        ("sys/kernel/debug/rknpu/version", "proc/rknpu/version", "sys/module/rknpu/version"),
    ),
    ("nvidia", ("proc/driver/nvidia/version", "sys/module/nvidia/version")),
    ("l4t", ("etc/nv_tegra_release",)),
]
