"""Contention domains between runs: a measurement is alone on its hardware, whoever else runs farm.

Within a run `choosing.py` sees to it; between runs of one user on one machine these kernel locks
do. They die with their process, so none can be stale.
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
from pathlib import Path
from typing import IO

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

    def take(lock: IO[str]) -> None:
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

    folder = _folder()
    with open(folder / f"{name}.lock", "a") as lock:
        with open(folder / f"{name}.gate", "a") as gate:
            take(gate)
            take(lock)
        yield


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"farm-domains-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise TransientError(
            f"{folder} belongs to somebody else",
            "have it removed, or set TMPDIR to a folder of your own",
        )
    return folder
