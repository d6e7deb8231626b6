"""Threads for what takes long, and the way back from them into the driver's thread."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Background:
    """Runs functions in threads of its own; what they post runs in the thread that takes it.

    Args:
        most: functions at a time; threads are made at need.
    """

    def __init__(self, most: int) -> None:
        self._threads = ThreadPoolExecutor(max_workers=most, thread_name_prefix="step")
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def submit(self, work: Callable[[], None]) -> None:
        """Run a function in a thread; it raises nothing."""
        self._threads.submit(work)

    def post(self, action: Callable[[], None]) -> None:
        """Have a function run by whoever takes it; from any thread."""
        self._inbox.put(action)

    def take(self, wait_s: float) -> None:
        """Run all that was posted, in its order; waits a while for the first."""
        with contextlib.suppress(queue.Empty):
            self._inbox.get(timeout=wait_s)()
            while True:
                self._inbox.get_nowait()()
