"""What a board's power rails draw, where it measures them: hwmon, INA3221, RAPL."""

import os
from typing import Dict, List, Tuple

from ..host.files import find, read_int, read_text

_Place = Tuple[str, str]  # a rail's name, and a file or the files that are multiplied


class Rails(object):
    """The rails below `root`, whose places are looked up once."""

    def __init__(self, root: str) -> None:
        self._watts: List[_Place] = []
        self._products: List[Tuple[str, str, str]] = []
        self._joules: List[_Place] = []
        for folder in find(root, "sys/class/hwmon/hwmon*"):
            self._hwmon(folder)
        # JetPack 4 has its INA3221 under iio, in milliwatts.
        for path in find(root, "sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_power*_input", 16):
            folder = os.path.dirname(path)
            number = os.path.basename(path)[len("in_power") : -len("_input")]
            name = read_text(os.path.join(folder, "rail_name_" + number), 64)
            self._watts.append((name or "ina3221x " + number, path))
        for folder in find(root, "sys/class/powercap/intel-rapl:[0-9]*", 8):
            name = read_text(os.path.join(folder, "name"), 64) or os.path.basename(folder)
            self._joules.append(("%s (%s)" % (name, os.path.basename(folder)), folder))

    def _hwmon(self, folder: str) -> None:
        chip = read_text(os.path.join(folder, "name"), 64)
        for path in find(folder, "power*_input", 16):
            self._watts.append((_rail(folder, chip, path, "power"), path))
        for path in find(folder, "energy*_input", 16):
            self._joules.append((_rail(folder, chip, path, "energy"), path))
        for path in find(folder, "curr*_input", 16):
            number = os.path.basename(path)[len("curr") : -len("_input")]
            volts = os.path.join(folder, "in%s_input" % number)
            # An INA3221's channels are 1 to 3; its in4 on are voltages of the shunts.
            if os.path.exists(volts) and not (chip == "ina3221" and int(number) > 3):
                self._products.append((_rail(folder, chip, volts, "in"), path, volts))

    def watts(self) -> Dict[str, float]:
        """What each rail draws now."""
        found = {}
        for name, path in self._watts:
            value = read_int(path)
            if value is not None:
                found[name] = value / (1e3 if "ina3221x" in path else 1e6)
        for name, current, voltage in self._products:
            milliamperes, millivolts = read_int(current), read_int(voltage)
            if milliamperes is not None and millivolts is not None:
                found[name] = milliamperes * millivolts / 1e6
        return found

    def joules(self) -> Dict[str, float]:
        """What each rail with a counter has drawn since some moment in the past."""
        found = {}
        for name, place in self._joules:
            counter = os.path.join(place, "energy_uj") if os.path.isdir(place) else place
            value = read_int(counter)
            if value is not None:
                found[name] = value / 1e6
        return found


def _rail(folder: str, chip: str, path: str, kind: str) -> str:
    number = os.path.basename(path)[len(kind) : -len("_input")]
    label = read_text(os.path.join(folder, "%s%s_label" % (kind, number)), 64)
    return label or "%s %s%s" % (chip, kind, number)
