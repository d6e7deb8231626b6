"""Whether a run is going on: a kernel lock on a file in its folder, gone with its processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import UserError

LOCK = ".going"
PATIENCE_S = 1.0  # somebody who only looks holds it for a moment


@contextlib.contextmanager
def going(folder: Path) -> Iterator[int]:
    """Hold a run; yields the lock's file descriptor, which a child may inherit to hold it too.

    Raises:
        UserError: the run is going on already.
    """
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise UserError(
                        f"run {folder.name} is going on", f"farm watch {folder.name} shows it"
                    ) from None
                time.sleep(0.05)
            except OSError:  # a file system without locks
                break
        yield lock
    finally:
        os.close(lock)


def is_going(folder: Path) -> bool:
    """Whether somebody holds a run, as far as this machine can tell."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
    return False
