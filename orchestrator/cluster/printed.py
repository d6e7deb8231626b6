"""What Ray and its workers print: from the files where Ray keeps it into the run's log.

Ray's own log monitor does that too. It is a process more, half a second of a processor until it is
up and 50 MB, which a run of one host need not have: the files are beside the driver.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from pathlib import Path

EVERY_S = 2.0
MOST_BYTES = 1 << 20
"""Of a file at a look."""
PATTERNS = ("worker-*.out", "worker-*.err", "raylet*.err", "gcs_server*.err")
# By these lines Ray's log monitor would know whose the next ones are.
_MARKS = re.compile(rb"^:(?:job_id|actor_name|task_name):.*\n?", re.MULTILINE)


class Printed:
    """Follows the files in a thread of its own, from when it is made.

    Args:
        folder: Ray's folder of logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self._last: Path | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="ray-printed", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look once more, and no more after that. To be called before Ray ends: its end is loud."""
        self._closing.set()
        self._thread.join()
        self.look(last=True)

    def look(self, *, last: bool = False) -> None:
        """Copy the lines that have come since the last look to standard output.

        Args:
            last: also copy a line that has no end yet, and say how much is left.
        """
        for pattern in PATTERNS:
            for path in sorted(self._folder.glob(pattern)):
                try:
                    self._take(path, last)
                except OSError as error:
                    self._say(path, f"{error}\n")

    def _take(self, path: Path, last: bool) -> None:
        start = self._read.get(path, 0)
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(MOST_BYTES)
            left = os.fstat(file.fileno()).st_size - file.tell()
        end = data.rfind(b"\n") + 1
        if last or (not end and len(data) == MOST_BYTES):
            end = len(data)
        self._read[path] = start + end
        text = _MARKS.sub(b"", data[:end]).decode(errors="replace")
        if last and text and not text.endswith("\n"):
            text += "\n"
        if last and left > 0:
            text += f"({left:,} more bytes are left out)\n"
        if text:
            self._say(path, text)

    def _say(self, path: Path, text: str) -> None:
        if path != self._last:
            sys.stdout.write(f"{path.name}:\n")
            self._last = path
        sys.stdout.write(text)
        sys.stdout.flush()

    def _follow(self) -> None:
        while not self._closing.wait(EVERY_S):
            self.look()
