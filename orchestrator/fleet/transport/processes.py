"""Ending a command together with everything that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

_PROC = Path("/proc")


def _living() -> dict[int, tuple[int, int]]:
    """Every process that is not a zombie: its parent and its session."""
    found = {}
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if not entry.name.isdigit():
            continue
        try:
            # The command name, in brackets, may hold spaces and brackets of its own.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields and fields[0] not in "ZX":
            found[int(entry.name)] = (int(fields[1]), int(fields[3]))
    return found


def is_zombie(pid: int) -> bool:
    """Whether a process has ended and nobody has waited for it yet."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return False
    return fields[:1] == ["Z"]


def members(leaders: Collection[int], also: Collection[int] = ()) -> set[int]:
    """The living processes of the leaders' sessions, those of `also`, and all descendants."""
    living = _living()
    found = {
        pid
        for pid, (_, session) in living.items()
        if pid in leaders or session in leaders or pid in also
    }
    while more := {pid for pid, (parent, _) in living.items() if parent in found} - found:
        found |= more
    return found


def _send(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_sessions(leaders: Collection[int], grace_s: float) -> None:
    """End the sessions that `leaders` lead: SIGHUP, and SIGKILL to what is left after `grace_s`.

    Leaders must not have been reaped yet: until then no other process can bear their number.
    """
    left = members(leaders)
    _send(left, signal.SIGHUP)
    _send(left, signal.SIGCONT)  # a stopped process sees no other signal
    end = time.monotonic() + grace_s
    while left and time.monotonic() < end:
        time.sleep(0.01)
        left = members(leaders, also=left)
    # A process may fork between the look and the signal: look again until none is left.
    for _ in range(100):
        if not left:
            return
        _send(left, signal.SIGKILL)
        time.sleep(0.01)
        left = members(leaders, also=left)
