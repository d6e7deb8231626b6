"""The board's exclusive lock: kernel locks on files, with who holds them, why and until when.

A lock file is never removed: removing it would let two agents lock two files of one name. The
runtime child inherits the lock, so that the board stays locked for as long as anything of a
session may still occupy the accelerator.
"""

import errno
import fcntl
import json
import os
import time
from typing import Any, Dict, List, Tuple

from ..host import processes
from ..measurement import clock
from ..protocol.errors import BOARD, TRANSIENT, AgentError
from . import lockfile
from .lockfile import read

_KILL_WAIT_S = 3.0
_LOST_FILE = 4


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except (IOError, OSError):
        return ""


class BoardLock(object):
    """Held from `acquire` until this process and its children end, or `release`.

    Args:
        paths: the lock files, from `lockfile.paths`; all are taken, in this order.
        board, owner, reason: told to whoever finds the board busy.
        lease_s: how long the holder may be silent before another may take the board over. It is
            counted on the monotonic clock, since a board's calendar may step.

    Attributes:
        fds: the open lock files, while it is held.
    """

    def __init__(
        self, paths: List[str], board: str, owner: str, reason: str, lease_s: float
    ) -> None:
        self.fds: List[int] = []
        self._paths = paths
        self._board = board
        self._lease_s = lease_s
        self._record: Dict[str, Any] = {
            "owner": owner[:200],
            "reason": reason[:200],
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "boot": _boot_id(),
            "pids": [[os.getpid(), processes.start_time(os.getpid())]],
        }

    def acquire(self, take_over: bool) -> None:
        """Take the lock.

        A holder whose lease has ended is killed: it was stopped, or hangs, and can no longer serve.
        With `take_over` a holder is killed in any case.

        Raises:
            AgentError: `busy`, naming the holder; or a file cannot be made.
        """
        try:
            for path in self._paths:
                self.fds.append(self._acquire(path, take_over))
        except BaseException:
            self.release()
            raise
        self.renew()

    def add(self, pid: int, start: int) -> None:
        """Record a child that keeps the board busy."""
        self._record["pids"] = self._record["pids"][:1] + [[pid, start]]
        self.renew()

    def renew(self) -> None:
        """Extend the lease from now on."""
        self._record["until"] = clock.now() + self._lease_s
        self._write(json.dumps(self._record).encode("utf-8"))

    def release(self) -> None:
        """Give the board back."""
        self._write(b"")
        while self.fds:
            os.close(self.fds.pop())

    def _write(self, data: bytes) -> None:
        for fd in self.fds:
            try:
                os.pwrite(fd, data.ljust(1024), 0)
                os.ftruncate(fd, len(data))
            except OSError:  # a full disk, another's file: the lock itself holds all the same
                pass

    def _acquire(self, path: str, take_over: bool) -> int:
        for _ in range(_LOST_FILE):
            fd = lockfile.open_file(path, self._board)
            try:
                self._take(fd, path, take_over)
                if lockfile.in_place(fd, path):
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # somebody removed it while we waited for it
        raise AgentError(
            BOARD,
            "%s: the lock file %s is removed again and again"
            % (
                self._board,
                path,
            ),
        )

    def _take(self, fd: int, path: str, take_over: bool) -> None:
        if self._try_briefly(fd, path):
            return
        holder = read(path)
        if not (take_over or lease_ended(holder)):
            raise AgentError(TRANSIENT, self._busy(holder), "busy")
        if not self._evict(fd, holder):
            raise AgentError(TRANSIENT, self._busy(holder) + _whose(holder), "busy")

    def _try(self, fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (IOError, OSError) as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise AgentError(BOARD, "%s: cannot lock the board: %s" % (self._board, error))
        return True

    def _try_briefly(self, fd: int, path: str) -> bool:
        # Somebody may only be looking (`who` holds it for an instant).
        for _ in range(4):
            if self._try(fd):
                return True
            if any(processes.alive(*pair) for pair in holder_pids(read(path))):
                return False
            time.sleep(0.05)
        return self._try(fd)

    def _evict(self, fd: int, holder: Dict[str, Any]) -> bool:
        if holder.get("boot", "") != _boot_id():
            return False
        # Only a process that holds this very file is an agent; nothing else is ever killed.
        pids = [
            pair for pair in holder_pids(holder) if processes.alive(*pair) and _holds(pair[0], fd)
        ]
        if not all(processes.kill(pid, start) for pid, start in pids):
            return False
        end = clock.now() + (_KILL_WAIT_S if pids else 0.0)
        while not self._try(fd):
            if clock.now() > end:
                return False
            time.sleep(0.02)
        return True

    def _busy(self, holder: Dict[str, Any]) -> str:
        return "%s is in use by %s since %s (%s)%s" % (
            self._board,
            holder.get("owner") or "somebody who left no name",
            holder.get("since", "an unknown time"),
            holder.get("reason") or "no reason given",
            "".join(", pid %d" % pid for pid, _ in holder_pids(holder)[:1]),
        )


def _holds(pid: int, fd: int) -> bool:
    mine = os.fstat(fd)
    folder = "/proc/%d/fd" % pid
    try:
        for name in os.listdir(folder):
            try:
                its = os.stat(os.path.join(folder, name))
            except OSError:
                continue
            if (its.st_dev, its.st_ino) == (mine.st_dev, mine.st_ino):
                return True
    except OSError:
        pass
    return False


def _whose(holder: Dict[str, Any]) -> str:
    for pid, start in holder_pids(holder):
        if processes.alive(pid, start):
            owner = os.stat("/proc/%d" % pid).st_uid
            if os.geteuid() not in (0, owner):
                return "; only root or the user with the number %d can end that" % owner
    return "; it could not be ended"


def holder_pids(holder: Dict[str, Any]) -> List[Tuple[int, int]]:
    """Pid and start time of the holder's processes."""
    pids = holder.get("pids")
    if not isinstance(pids, list):
        return []
    return [
        (pair[0], pair[1])
        for pair in pids
        if isinstance(pair, list)
        and len(pair) == 2
        and all(isinstance(value, int) and value > 0 for value in pair)
    ]


def lease_ended(holder: Dict[str, Any]) -> bool:
    """Whether the holder has been silent for longer than it was allowed to."""
    until = holder.get("until")
    return isinstance(until, (int, float)) and until < clock.now()


def who(paths: List[str]) -> Dict[str, Any]:
    """The living holder of any of the lock files, without taking one; empty when all are free."""
    for path in paths:
        holder = _holder(path)
        if holder:
            return holder
    return {}


def _holder(path: str) -> Dict[str, Any]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (IOError, OSError):
        holder = read(path)
        until = holder.get("until")
        if isinstance(until, (int, float)):
            holder["lease_left_s"] = round(until - clock.now(), 1)
        return holder or {"owner": ""}
    finally:
        os.close(fd)
    return {}
