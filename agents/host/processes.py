"""Processes by pid and start time, so that a recycled pid is never taken for its old owner."""

import errno
import os
import signal
import time
from typing import Dict, List, Optional, Tuple

PROC = "/proc"


def stat(pid: int) -> Optional[List[str]]:
    """Fields of /proc/PID/stat from the state (field 3) on; None when there is no such process.

    Those of its first thread, which are the same. QEMU's user mode invents /proc/PID/stat for the
    process that asks, with another start time than everybody else sees.
    """
    try:
        with open("%s/%d/task/%d/stat" % (PROC, pid, pid), "rb") as file:
            data = file.read().decode("ascii", "replace")
    except (IOError, OSError):
        return None
    # The name before may hold spaces and brackets; the last bracket ends it.
    return data[data.rfind(")") + 2 :].split()


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 when it does not run (any more)."""
    fields = stat(pid)
    if fields is None or len(fields) < 20 or fields[0] in "ZX":
        return 0
    return int(fields[19])


def alive(pid: int, start: int) -> bool:
    """Whether the process that had this pid and start time still runs."""
    return start > 0 and start_time(pid) == start


def descendants(pid: int) -> List[Tuple[int, int]]:
    """Pid and start time of all living children, grandchildren and so on, nearest first."""
    children: Dict[int, List[int]] = {}
    try:
        # QEMU's user mode may have a /proc of its own, with a /proc/cpuinfo alone in it.
        names = os.listdir(PROC + "/self/..")
    except OSError:
        return []
    for name in names:
        if name.isdigit():
            fields = stat(int(name))
            if fields is not None and len(fields) > 1:
                children.setdefault(int(fields[1]), []).append(int(name))
    found, queue = [], [pid]
    while queue:
        for child in children.get(queue.pop(0), []):
            queue.append(child)
            found.append((child, start_time(child)))
    return [(child, start) for child, start in found if start]


def kill(pid: int, start: int) -> bool:
    """SIGKILL to exactly that process; False when it is not ours to kill."""
    if not alive(pid, start):
        return True
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError as error:
        return error.errno == errno.ESRCH
    return True


def kill_tree(pid: int, start: int) -> None:
    """SIGKILL to a process and everything it started."""
    for each, its_start in [(pid, start)] + descendants(pid):
        kill(each, its_start)


def wait_gone(pids: List[Tuple[int, int]], seconds: float) -> bool:
    """Wait until none of the processes runs any more; False when time is up."""
    end = time.monotonic() + seconds
    while any(alive(pid, start) for pid, start in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends."""
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)


def peak_memory() -> int:
    """Resident memory of this process at its highest, in bytes; 0 where it is not reported."""
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0
