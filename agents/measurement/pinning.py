"""A board's clocks held at their highest for a measurement, and put back whatever happens.

The old values are on the board's disk before the first of them is changed. They are written back
when the measurement ends; where the agent was killed, when the next one starts. A reboot puts them
back by itself: a journal of another boot is thrown away.
"""

import errno
import json
import os
from typing import Any, Dict, List, Tuple

from ..host.files import find, read_text
from ..protocol.errors import BOARD, USER, AgentError

FILE = "clocks.json"
PINNED = "pinned"
UNTOUCHED = "untouched"
_BOOT = "proc/sys/kernel/random/boot_id"
_LEAVE = "run the agent as root there, or say `clocks: untouched`"

_FOLDERS = (
    ("sys/devices/system/cpu/cpu[0-9]*/cpufreq", "scaling_min_freq", "scaling_max_freq"),
    ("sys/class/devfreq/*", "min_freq", "max_freq"),
)

Change = Tuple[str, str, str]  # path, old value, new value


def changes(root: str) -> List[Change]:
    """What has to be written for every CPU and accelerator to keep its highest allowed clock.

    The lowest clock becomes the highest, which no governor can go below; the governor stays.
    """
    wanted: List[Change] = []
    for pattern, low, high in _FOLDERS:
        for folder in find(root, pattern):
            old, most = read_text(os.path.join(folder, low)), read_text(os.path.join(folder, high))
            if old.isdigit() and most.isdigit():
                wanted.append((os.path.join(folder, low), old, most))
    return wanted


def pin(workdir: str, root: str = "/") -> List[Change]:
    """Hold the clocks; all of them or none.

    Raises:
        AgentError: `user` when this user may not, there is nothing to hold, or the kernel refuses
            a value; `board` when the journal cannot be written. Nothing is changed then.
    """
    restore(workdir, root)
    wanted = changes(root)
    if not wanted:
        raise AgentError(
            USER,
            "its kernel has no clocks to pin (neither cpufreq nor devfreq); say "
            "`clocks: untouched` for this board",
            "no-clocks",
        )
    wanted = [change for change in wanted if change[1] != change[2]]
    for path, _, _ in wanted:
        if not os.access(path, os.W_OK):
            raise _refused(path, "may not be written by this user")
    if not wanted:
        return []
    _write_journal(workdir, {"boot": read_text(os.path.join(root, _BOOT)), "changes": wanted})
    for path, _, new in wanted:
        try:
            _write(path, new)
        except (IOError, OSError) as error:
            restore(workdir, root)
            raise _refused(path, "refuses %s: %s" % (new, error))
        if read_text(path) != new:
            now = read_text(path)
            restore(workdir, root)
            raise _refused(path, "was given %s and says %s" % (new, now))
    return wanted


def restore(workdir: str, root: str = "/") -> List[str]:
    """Put back what a journal in the workdir names.

    Returns:
        the paths that could not be put back; the journal stays for them, to be tried again.
    """
    path = os.path.join(workdir, FILE)
    if not os.path.exists(path):
        return []
    left: List[Any] = []
    journal = _read_journal(path)
    if journal.get("boot") == read_text(os.path.join(root, _BOOT)):
        below = os.path.join(os.path.realpath(root), "sys", "")
        for change in journal.get("changes", []):
            if not os.path.realpath(change[0]).startswith(below):
                continue
            try:
                _write(change[0], change[1])
            except (IOError, OSError) as error:
                if error.errno != errno.ENOENT:
                    left.append(change)
    try:
        if left:
            _write_journal(workdir, {"boot": journal["boot"], "changes": left})
        else:
            os.unlink(path)
            _sync(workdir)
    except (OSError, AgentError):  # a full or read-only disk: putting back twice does no harm
        pass
    return [change[0] for change in left]


def _refused(path: str, why: str) -> AgentError:
    return AgentError(
        USER, "the clocks cannot be pinned: %s %s; %s" % (path, why, _LEAVE), "clocks"
    )


def _write(path: str, value: str) -> None:
    # Without O_CREAT: a file of sysfs that is gone must not appear as one of ours.
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode("ascii", "replace"))
    finally:
        os.close(fd)


def _read_journal(path: str) -> Dict[str, Any]:
    try:
        with open(path, "rb") as file:
            journal = json.loads(file.read().decode("utf-8"))
        for name, old, new in journal["changes"]:
            if not (isinstance(name, str) and isinstance(old, str) and isinstance(new, str)):
                return {}
        return dict(journal)
    except (IOError, OSError, ValueError, KeyError, TypeError):
        # It is renamed into its place whole, so that what cannot be read was never ours.
        return {}


def _write_journal(workdir: str, journal: Dict[str, Any]) -> None:
    path = os.path.join(workdir, FILE)
    try:
        fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, json.dumps(journal).encode("utf-8"))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(path + ".new", path)
        _sync(workdir)
    except (IOError, OSError) as error:
        raise AgentError(
            BOARD, "no journal of the clocks can be written to %s: %s" % (path, error), "clocks"
        )


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError:  # some file systems of boards cannot
        pass
    finally:
        os.close(fd)
