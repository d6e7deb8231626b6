"""Whether the processes of a local Ray head live. Ray itself waits a minute or ends the driver."""

from __future__ import annotations

import os
from pathlib import Path

HEAD = ("gcs_server", "raylet")


class HeadWatch:
    """Looks at this process's children that are Ray's head. Used from one thread."""

    def __init__(self) -> None:
        self._pids: dict[str, int] = {}

    def ended(self) -> str:
        """Name of a head process that has ended, empty while none has (or none has started)."""
        if len(self._pids) < len(HEAD):
            self._pids |= _children()
        for name, pid in self._pids.items():
            if _parent_and_state(pid) is None:
                return name
        return ""


def _children() -> dict[str, int]:
    found = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            pids = (task / "children").read_text().split()
        except OSError:
            continue
        for pid in map(int, pids):
            name = _name(pid)
            if name in HEAD and _parent_and_state(pid) is not None:
                found[name] = pid
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _parent_and_state(pid: int) -> tuple[int, str] | None:
    """Of a living child of ours; None when it has ended."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    parent, state = int(words[1]), words[0]
    return (parent, state) if parent == os.getpid() and state not in "ZX" else None
