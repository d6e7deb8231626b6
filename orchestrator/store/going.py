"""Whether a run is going on: a kernel lock on a file in its folder, gone with its processes.

The file says when whoever holds it is about to end, so that a `farm resume` typed at once waits.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestrator.errors import UserError

LOCK = ".going"
PATIENCE_S = 1.0  # somebody who only looks holds it for a moment
ENDS_WITHIN_S = 60.0
POLL_S = 0.05
_ENDING = b"ending\n"


def _no_word() -> None:
    pass


@contextlib.contextmanager
def going(folder: Path, waiting: Callable[[], None] = _no_word) -> Iterator[int]:
    """Hold a run; yields the lock's file descriptor. Who is about to end is waited for.

    Args:
        folder: the run's.
        waiting: called once when it is being waited for.

    Raises:
        UserError: the run is going on already.
    """
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _taken(lock, waiting):
            raise UserError(f"run {folder.name} is going on", f"farm watch {folder.name} shows it")
        os.ftruncate(lock, 0)
        yield lock
    finally:
        os.close(lock)


def _taken(lock: int, waiting: Callable[[], None]) -> bool:
    begin, reported = time.monotonic(), False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            waited = time.monotonic() - begin
        except OSError:  # a file system without locks
            return True
        ending = bool(os.pread(lock, 1, 0))
        if waited > (ENDS_WITHIN_S if ending else PATIENCE_S):
            return False
        if ending and not reported:
            reported = True
            waiting()
        time.sleep(POLL_S)


def mark_ending(folder: Path) -> None:
    """Say that the holder of a run is about to end; called by the holder."""
    with contextlib.suppress(OSError):
        lock = os.open(folder / LOCK, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(lock, _ENDING, 0)
        finally:
            os.close(lock)


def stop(folder: Path) -> bool:
    """Stop a run as Ctrl-C does; whether whoever carries it on was found on this computer."""
    held = _holding(folder / LOCK)
    # The supervisor, above its driver.
    first = [pid for pid in held if _parent(pid) not in held]
    for pid in first:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
    return bool(first)


def _holding(lock: Path) -> set[int]:
    """Processes of this user that have a file open."""
    found = set()
    with contextlib.suppress(OSError):
        wanted = lock.stat()
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and process.name != str(os.getpid()):
                with contextlib.suppress(OSError):
                    for each in (process / "fd").iterdir():
                        with contextlib.suppress(OSError):
                            there = each.stat()
                            if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
                                found.add(int(process.name))
    return found


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def is_ending(folder: Path) -> bool:
    """Whether somebody holds a run and is about to end."""
    try:
        return is_going(folder) and bool((folder / LOCK).read_bytes())
    except OSError:
        return False


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
