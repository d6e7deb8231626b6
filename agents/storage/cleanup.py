"""What an earlier agent may have left in the workdir. Runs once, under the board's lock."""

import glob
import os
import re
import time
from typing import List

IMAGES = "images"
CACHE_BYTES = 1 << 30
_KEPT_AGENTS = 3
_UPLOAD_S = 600.0
_KEPT_BLOCK = re.compile(r"[0-9a-f]{64}$")


def clean(
    workdir: str, program: str, cache_bytes: int = CACHE_BYTES, kept_images: bool = False
) -> List[str]:
    """Remove leftovers, with `kept_images` also the test images of before; what is gone, by name.

    Whoever uploads an artifact holds the lock through a running agent, so that a partial file
    beside artifacts is always a leftover. An agent is uploaded before the lock is taken, so that a
    partial one may belong to somebody else and is left alone while it is fresh.
    """
    gone = []
    artifacts = os.path.join(workdir, "artifacts")
    gone += _remove(glob.glob(os.path.join(artifacts, "*.part*")))
    gone += _remove(_old(glob.glob(os.path.join(workdir, "*.part*"))))
    images = os.path.join(workdir, IMAGES)
    gone += _remove([os.path.join(workdir, "tmp")])
    gone += _remove(
        [images]
        if kept_images
        else [
            path
            for path in glob.glob(os.path.join(images, "*"))
            if not _KEPT_BLOCK.match(os.path.basename(path))
        ]
    )
    agents = [
        path
        for path in _newest_first(glob.glob(os.path.join(workdir, "agent-*.pyz")))
        if not _same(path, program)
    ]
    gone += _remove(agents[_KEPT_AGENTS - 1 :])
    total = 0
    for path in _newest_first(glob.glob(os.path.join(artifacts, "*"))):
        total += _size(path)
        if total > cache_bytes:
            gone += _remove([path])
    return gone


def wipe(workdir: str) -> List[str]:
    """Remove everything of farm's own in the workdir but the lock file."""
    patterns = ("artifacts", "tmp", IMAGES, "*.part*", "agent-*.pyz")
    found = [path for each in patterns for path in glob.glob(os.path.join(workdir, each))]
    return _remove(found)


def touch(path: str) -> None:
    """Note that an artifact was used, for the cache's order."""
    try:
        os.utime(path, None)
    except OSError:  # a read-only file system
        pass


def _old(paths: List[str]) -> List[str]:
    # A calendar that stepped back since the upload says nothing: such a file is old.
    now = time.time()
    return [path for path in paths if not 0 <= now - _mtime(path) < _UPLOAD_S]


def _newest_first(paths: List[str]) -> List[str]:
    return sorted(paths, key=lambda path: (-_mtime(path), path))


def _mtime(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _remove(paths: List[str]) -> List[str]:
    gone = []
    for path in paths:
        try:
            if os.path.isdir(path) and not os.path.islink(path):
                import shutil  # brings every archiver with it

                shutil.rmtree(path)
            else:
                os.unlink(path)
        except OSError:
            continue
        gone.append(os.path.basename(path))
    return gone
