"""Lock files: where they lie, and how one is opened in a folder where everybody may write."""

import errno
import json
import os
import stat
from typing import Any, Dict, List, Optional

from ..protocol.errors import BOARD, AgentError

BOARD_SCOPE = "board"
WORKDIR_SCOPE = "workdir"
SCOPES = (BOARD_SCOPE, WORKDIR_SCOPE)
FILE = "board.lock"
# Files that all users of a machine lock are called so.
SHARED_PREFIX = "farm-"
SHARED_FILE = SHARED_PREFIX + "board.lock"
# Names the folder instead of those below, for a machine where none of them serves.
ENVIRONMENT = "FARM_LOCK_FOLDER"
# Folders that are there with a read-only root too, and that no user has for himself alone.
_SHARED = ("run/lock", "dev/shm", "tmp")
_EVERYBODY = stat.S_ISVTX | stat.S_IWOTH | stat.S_IXOTH
_READ = 4096


def paths(workdir: str, scope: str, root: str) -> List[str]:
    """The lock files of a board, in the order in which they are taken.

    A workdir's own file guards what lies there, and is all that agents from before the board's own
    file know. With the scope `board` one that all users of the machine share comes first, unless
    the machine has no place for it.
    """
    own = [os.path.join(workdir, FILE)]
    folder = shared_folder(root) if scope == BOARD_SCOPE else None
    return own if folder is None else [os.path.join(folder, SHARED_FILE)] + own


def shared_folder(root: str) -> Optional[str]:
    """The first folder where every user may make files and none may remove another's.

    What decides is the same for all users, so that they meet at one file.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        return named
    for name in _SHARED:
        folder = os.path.join(root, name)
        try:
            mode = os.lstat(folder).st_mode
            writable = not os.statvfs(folder).f_flag & os.ST_RDONLY
        except OSError:
            continue
        if stat.S_ISDIR(mode) and mode & _EVERYBODY == _EVERYBODY and writable:
            return folder
    return None


def open_file(path: str, board: str) -> int:
    """Open a lock file, made when missing, so that every user can lock it.

    Raises:
        AgentError: it cannot be made, or is a link or no plain file: somebody set a trap.
    """
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = _open(path, flags)
    except OSError as error:
        raise AgentError(BOARD, "%s: cannot open the lock file %s: %s" % (board, path, error))
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(fd)
        raise AgentError(
            BOARD,
            "%s: the lock file %s is a link or no plain file, which farm never makes: look who "
            "put it there and remove it" % (board, path),
        )
    return fd


def _open(path: str, flags: int) -> int:
    for _ in range(8):
        try:
            return os.open(path, flags | os.O_RDWR)
        except OSError as error:
            if error.errno == errno.EACCES:
                # Enough to lock it, though not to say who did.
                return os.open(path, flags | os.O_RDONLY)
            if error.errno != errno.ENOENT:
                raise
        # Never O_CREAT for what may be there: where everybody may write, the kernel refuses that
        # for another's file even to root (fs.protected_regular).
        before = os.umask(0)
        try:
            mode = 0o666 if os.path.basename(path).startswith(SHARED_PREFIX) else 0o600
            return os.open(path, flags | os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
        finally:
            os.umask(before)
    raise OSError(errno.EAGAIN, "it comes and goes")


def in_place(fd: int, path: str) -> bool:
    """Whether an open file is still the one at its path, and not a removed predecessor of it."""
    try:
        there = os.lstat(path)
    except OSError:
        return False
    mine = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def read(path: str) -> Dict[str, Any]:
    """What a lock file says of its holder; empty when it says nothing readable."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        found = json.loads(os.read(fd, _READ).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    finally:
        os.close(fd)
    return found if isinstance(found, dict) else {}
