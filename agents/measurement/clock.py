"""Time on a board whose calendar may say 1970: only clocks that never step."""

import time
from typing import Callable


def _now_ns() -> int:
    return int(time.perf_counter() * 1e9)


# Python 3.6 has no perf_counter_ns; its float is good to some nanoseconds for months.
now_ns: Callable[[], int] = getattr(time, "perf_counter_ns", _now_ns)
now = time.monotonic
