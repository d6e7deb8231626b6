"""Contention domains between runs: a measurement is alone on its hardware, whoever else runs farm.

Within a run `choosing.py` sees to it; between runs on one machine, whoever started them and from
where, these kernel locks do. They die with their process, so none can be stale. They lie where the
boards' own locks do.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

from orchestrator.agents.locking.lockfile import (
    ENVIRONMENT,
    SHARED_PREFIX,
    open_file,
    shared_folder,
)
from orchestrator.agents.protocol.errors import AgentError
from orchestrator.errors import TransientError

POLL_S = 0.1
TELL_S = 5.0


@contextlib.contextmanager
def working_in(
    domain: str,
    *,
    alone: bool,
    stop: threading.Event,
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Work in a domain: beside others, or `alone` in it, waiting for them to end.

    Who waits to be alone comes before all who arrive later, so that runs which overlap without
    end cannot keep a measurement waiting for ever.

    Args:
        waiting: called once when another run's work has been waited for a while.

    Raises:
        TransientError: the run is being stopped.
    """
    name = hashlib.sha256(domain.encode()).hexdigest()[:16]
    how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    told_at = time.monotonic() + TELL_S

    def take(lock: int) -> None:
        nonlocal told_at
        while True:
            try:
                fcntl.flock(lock, how | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > told_at:
                    told_at = math.inf
                    waiting()
                if stop.wait(POLL_S):
                    raise TransientError("stopped") from None

    folder = shared_folder("/") or tempfile.gettempdir()
    with _opened(folder, f"{name}.lock") as lock:
        with _opened(folder, f"{name}.gate") as gate:
            take(gate)
            take(lock)
        yield


@contextlib.contextmanager
def _opened(folder: str, name: str) -> Iterator[int]:
    try:
        file = open_file(os.path.join(folder, f"{SHARED_PREFIX}domain-{name}"), "this machine")
    except AgentError as error:
        raise TransientError(
            error.message, f"or set {ENVIRONMENT} to a folder of your own"
        ) from error
    try:
        yield file
    finally:
        os.close(file)
