"""Private temporary folders."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import TransientError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def full_disk_explained() -> Iterator[None]:
    """A full temporary folder becomes an error that says so."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise TransientError(
            f"no space left in the temporary folder {tempfile.gettempdir()}; nothing was kept",
            "free some space or set TMPDIR to a larger disk",
        ) from error


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A private folder that is gone afterwards; a full disk is explained."""
    with full_disk_explained(), tempfile.TemporaryDirectory(prefix="farm-") as folder:
        yield Path(folder)
