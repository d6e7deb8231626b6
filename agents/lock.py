"""The board's exclusive lock: a kernel lock on a file, with who holds it, why and until when.

The lock file is never removed: removing it would let two agents lock two files of one name. The
runtime child inherits the lock, so that the board stays locked for as long as anything of a
session may still occupy the accelerator.
"""

import errno
import fcntl
import json
import os
import time
from typing import Any, Dict, List, Tuple

from . import clock, processes
from .errors import BOARD, TRANSIENT, AgentError

FILE = "board.lock"
_KILL_WAIT_S = 3.0


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except (IOError, OSError):
        return ""


class BoardLock(object):
    """Held from `acquire` until this process and its children end, or `release`.

    Args:
        workdir: farm's folder on the board.
        board, owner, reason: told to whoever finds the board busy.
        lease_s: how long the holder may be silent before another may take the board over. It is
            counted on the monotonic clock, since a board's calendar may step.
    """

    def __init__(self, workdir: str, board: str, owner: str, reason: str, lease_s: float) -> None:
        self.path = os.path.join(workdir, FILE)
        self.fd = -1
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
            AgentError: `busy`, naming the holder; or the file cannot be made.
        """
        try:
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AgentError(
                BOARD, "%s: cannot make the lock file %s: %s" % (self._board, self.path, error)
            )
        if not self._try_briefly():
            holder = read(self.path)
            if not (take_over or lease_ended(holder)) or not self._evict(holder):
                os.close(self.fd)
                self.fd = -1
                raise AgentError(TRANSIENT, self._busy(holder), "busy")
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
        if self.fd >= 0:
            self._write(b"")
            os.close(self.fd)
            self.fd = -1

    def _write(self, data: bytes) -> None:
        try:
            os.pwrite(self.fd, data.ljust(1024), 0)
            os.ftruncate(self.fd, len(data))
        except OSError:  # a full disk: the lock itself holds all the same
            pass

    def _try(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (IOError, OSError) as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise AgentError(BOARD, "%s: cannot lock %s: %s" % (self._board, self.path, error))
        return True

    def _try_briefly(self) -> bool:
        # Somebody may only be looking (`who` holds it for an instant).
        for _ in range(4):
            if self._try():
                return True
            if any(processes.alive(*pair) for pair in holder_pids(read(self.path))):
                return False
            time.sleep(0.05)
        return self._try()

    def _evict(self, holder: Dict[str, Any]) -> bool:
        if holder.get("boot", "") != _boot_id():
            return False
        pids = holder_pids(holder)
        # Only a process that holds this very file is an agent; nothing else is ever killed.
        if not all(processes.kill(pid, start) for pid, start in pids if self._holds(pid)):
            return False
        end = clock.now() + _KILL_WAIT_S
        while not self._try():
            if clock.now() > end:
                return False
            time.sleep(0.02)
        return True

    def _holds(self, pid: int) -> bool:
        mine = os.fstat(self.fd)
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

    def _busy(self, holder: Dict[str, Any]) -> str:
        return "%s is in use by %s since %s (%s)%s" % (
            self._board,
            holder.get("owner") or "somebody who left no name",
            holder.get("since", "an unknown time"),
            holder.get("reason") or "no reason given",
            "".join(", pid %d" % pid for pid, _ in holder_pids(holder)[:1]),
        )


def read(path: str) -> Dict[str, Any]:
    """What a lock file says of its holder; empty when it says nothing readable."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(4096).decode("utf-8"))
    except (IOError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


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


def who(workdir: str) -> Dict[str, Any]:
    """The living holder of a workdir's lock, without taking it; empty when it is free."""
    path = os.path.join(workdir, FILE)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
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
