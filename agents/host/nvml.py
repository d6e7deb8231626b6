"""What NVIDIA's driver tells of a graphics card through libnvidia-ml.so.1; sysfs has none of it.

Names and numbers are those of nvml.h (NVML API reference, R525). A call that a card does not
support leaves its figure out.
"""

import ctypes
from typing import Any, Dict, List, Optional, Tuple

LIBRARY = "libnvidia-ml.so.1"
_TEMPERATURE_GPU = 0
_CLOCK_SM = 1
# nvmlClocksThrottleReason*; idling and clocks that somebody has set are no throttling.
_REASONS: List[Tuple[int, str]] = [
    (0x04, "power cap"),
    (0x08, "hardware slowdown"),
    (0x20, "software thermal slowdown"),
    (0x40, "hardware thermal slowdown"),
    (0x80, "power brake"),
]


class Gpu(object):
    """One card by its index in NVML.

    Raises:
        OSError: no library, no card of that index, or a driver that does not answer.
    """

    def __init__(self, index: int, library: str = LIBRARY) -> None:
        self._lib = ctypes.CDLL(library)
        self.name = "gpu%d" % index
        self._device = ctypes.c_void_p()
        self._must(self._lib.nvmlInit_v2())
        get = self._lib.nvmlDeviceGetHandleByIndex_v2
        self._must(get(ctypes.c_uint(index), ctypes.byref(self._device)))

    def _must(self, status: int) -> None:
        if status != 0:
            raise OSError("NVML: error %d" % status)

    def _ask(self, function: str, into: Any, *more: Any) -> Optional[int]:
        try:
            call = getattr(self._lib, function)
        except AttributeError:  # an older driver
            return None
        value = into()
        status = call(self._device, *(list(more) + [ctypes.byref(value)]))
        return int(value.value) if status == 0 else None

    def temperature_c(self) -> Optional[int]:
        """Of the chip."""
        kind = ctypes.c_int(_TEMPERATURE_GPU)
        return self._ask("nvmlDeviceGetTemperature", ctypes.c_uint, kind)

    def clock_mhz(self) -> Optional[int]:
        """Of the multiprocessors."""
        return self._ask("nvmlDeviceGetClockInfo", ctypes.c_uint, ctypes.c_int(_CLOCK_SM))

    def power_w(self) -> Optional[float]:
        """Of the whole card."""
        milliwatts = self._ask("nvmlDeviceGetPowerUsage", ctypes.c_uint)
        return None if milliwatts is None else milliwatts / 1e3

    def energy_j(self) -> Optional[float]:
        """Of the whole card since the driver was loaded; Volta and later count it."""
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong)
        return None if millijoules is None else millijoules / 1e3

    def throttling(self) -> Dict[str, int]:
        """What slows the card down now, 1 each."""
        bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong) or 0
        return {"%s: %s" % (self.name, word): 1 for bit, word in _REASONS if bits & bit}


def gpus(indices: List[str], library: str = LIBRARY) -> List[Gpu]:
    """The cards of these indices that are there."""
    found = []
    for index in indices:
        try:
            found.append(Gpu(int(index), library))
        except (OSError, ValueError, AttributeError):
            continue
    return found
