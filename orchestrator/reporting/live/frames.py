"""Draws a live view at an even pace, however long a frame takes on a busy host."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

EVERY_S = 0.2
"""From the start of a frame to the start of the next."""

REST_S = 0.05
"""Between two frames at the least: whoever takes events in waits while one is drawn."""


def pause_s(took_s: float) -> float:
    """Seconds until the next frame begins, after one that took so long."""
    return max(REST_S, EVERY_S - took_s)


class Frames(threading.Thread):
    """Calls `draw` until it is stopped.

    A pause of the same length after each frame would be as long again as the frame itself on a host
    that has little time for it.
    """

    def __init__(self, draw: Callable[[], None]) -> None:
        super().__init__(name="frames", daemon=True)
        self._draw = draw
        self._done = threading.Event()

    def run(self) -> None:
        """A frame after the other."""
        took_s = 0.0
        while not self._done.wait(pause_s(took_s)):
            began = time.monotonic()
            self._draw()
            took_s = time.monotonic() - began

    def stop(self) -> None:
        """No frame is drawn from here on."""
        self._done.set()
        self.join()
