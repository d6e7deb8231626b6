"""Private temporary folders."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import TransientError


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A private folder that is gone afterwards; a full disk becomes an error that says so."""
    try:
        with tempfile.TemporaryDirectory(prefix="farm-") as folder:
            yield Path(folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise TransientError(
            f"no space left in the temporary folder {tempfile.gettempdir()}; nothing was kept",
            "free some space or set TMPDIR to a larger disk",
        ) from error
