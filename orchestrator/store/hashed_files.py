"""Hashes of files that several steps check within seconds of one another."""

from __future__ import annotations

import os
import time
from pathlib import Path

from orchestrator.hashing import sha256_file


class HashedFiles:
    """sha256 of files; an unchanged file is read once.

    Each board of a run checks the same images before it uses them, hundreds of megabytes of them.

    A file counts as changed when its inode, its size or one of its times differs. A change can fall
    into the same tick of the file system's clock as the hash before it, so the hash of a file
    younger than `young_s` is not kept. Damage to the disk changes no time, so a hash is kept for
    `keep_s` at most.
    """

    def __init__(self, young_s: float = 1.0, keep_s: float = 600.0) -> None:
        self._young_s, self._keep_s = young_s, keep_s
        self._known: dict[tuple[int, ...], tuple[float, str]] = {}

    def sha256(self, path: Path) -> str:
        """sha256 (hex) of a file's bytes.

        Raises:
            OSError: it cannot be read.
        """
        found, now = os.stat(path), time.time()
        # As it is before it is read: what changes meanwhile is another file from then on.
        times = found.st_mtime_ns, found.st_ctime_ns
        file = found.st_dev, found.st_ino, found.st_size, *times
        kept_at, known = self._known.get(file, (0.0, ""))
        if known and 0 <= now - kept_at < self._keep_s:
            return known
        value = sha256_file(path)
        if now - max(times) / 1e9 > self._young_s:
            self._known[file] = (now, value)
        return value
