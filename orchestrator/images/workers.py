"""The processes that make images: started at need, ended soon after nobody has any to make."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

PROCESSES = 2
PAUSE_S = 5.0
"""How long they wait for another step's images: starting new ones costs more."""
NICENESS = 15
"""As of Ray's workers: else Ray and the boards would start later, behind images that can wait."""


class Rendering:
    """A pool that several steps may use at once; it is large, so it does not outlive them long.

    Args:
        pause_s: how long it waits for the next step.
    """

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self._pause_s = pause_s
        self._pool: ProcessPoolExecutor | None = None
        self._users = 0
        self._uses = 0
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def processes(self) -> Iterator[ProcessPoolExecutor]:
        """The pool, for the length of a `with`."""
        with self._guard:
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    PROCESSES,
                    mp_context=get_context("forkserver"),
                    initializer=_prepare,
                )
            pool = self._pool
            self._users += 1
            self._uses += 1
        try:
            yield pool
        finally:
            with self._guard:
                self._users -= 1
                if not self._users and self._pool is pool:
                    end = threading.Timer(self._pause_s, self._end_unused, [pool, self._uses])
                    end.daemon = True
                    end.start()

    def _end_unused(self, pool: ProcessPoolExecutor, uses: int) -> None:
        with self._guard:
            if self._uses == uses and self._pool is pool:
                self._pool = None
                pool.shutdown(wait=False)

    def close(self) -> None:
        """Stop the processes, whatever they do."""
        with self._guard:
            pool, self._pool = self._pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)


def _prepare() -> None:
    """In a process that makes images, before its first."""
    # Ctrl-C reaches it too: it ends at once, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.nice(NICENESS)
    import numpy  # noqa: F401  (a limit counts for what is loaded)
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # A face's products are small: a second thread would spin for longer than it computes.
    threadpool_limits(limits=1, user_api="blas")
