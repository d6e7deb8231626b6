"""Is a board cool enough to be measured? By its temperature, not by a number of seconds."""

from collections import deque
from typing import Deque, Optional, Tuple

# A board that fell by less than this within that time has come down as far as it goes.
SETTLED_C = 0.5
SETTLED_S = 20.0

COOL = "cool"
SETTLED = "settled"
TOO_LATE = "too late"
UNKNOWN = "no sensor"


class Cooling(object):
    """Shown one temperature after the other, says when the wait is over and why.

    Args:
        below_c: the temperature to wait for, in degrees Celsius.
        deadline_s: how long at most.
    """

    def __init__(self, below_c: float, deadline_s: float) -> None:
        self._below_c, self._deadline_s = below_c, deadline_s
        self._seen: Deque[Tuple[float, float]] = deque()

    def ended(self, at_s: float, temperature_c: Optional[float]) -> str:
        """Why the wait is over, empty while it is not.

        Args:
            at_s: seconds since it began, never less than before.
            temperature_c: of the hottest zone; None when there is no sensor.

        Returns:
            `cool`: below the limit. `settled`: above, but it falls no more. `too late`: above when
            time was up. `no sensor`.
        """
        if temperature_c is None:
            return UNKNOWN
        if temperature_c < self._below_c:
            return COOL
        if at_s >= self._deadline_s:
            return TOO_LATE
        self._seen.append((at_s, temperature_c))
        while len(self._seen) > 1 and self._seen[1][0] <= at_s - SETTLED_S:
            self._seen.popleft()
        before_s, before_c = self._seen[0]
        if at_s - before_s >= SETTLED_S and before_c - temperature_c < SETTLED_C:
            return SETTLED
        return ""
