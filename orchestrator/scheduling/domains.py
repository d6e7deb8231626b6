"""Contention domains between runs: a measurement is alone on its hardware, whoever else runs farm.

Within a run `choosing.py` sees to it; between runs of one user on one machine these kernel locks
do. They die with their process, so none can be stale.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import TransientError

POLL_S = 0.1


@contextlib.contextmanager
def working_in(domain: str, *, alone: bool, stop: threading.Event) -> Iterator[None]:
    """Work in a domain: beside others, or `alone` in it, waiting for them to end.

    Raises:
        TransientError: the run is being stopped.
    """
    name = hashlib.sha256(domain.encode()).hexdigest()[:16]
    with open(_folder() / f"{name}.lock", "a") as lock:
        how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        while True:
            try:
                fcntl.flock(lock, how | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if stop.wait(POLL_S):
                    raise TransientError("stopped") from None
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
