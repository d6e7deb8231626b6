"""Reports of runs, written when they are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from orchestrator.reporting.analysis.history import load_run
from orchestrator.reporting.html.report import Page, report_page
from orchestrator.store.run_folder import EVENTS

MOST = 6  # a megabyte each


class Reports:
    """The reports that were asked for last, as long as their runs' logs stay as they are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[Path, tuple[tuple[int, int], Page]] = OrderedDict()

    def of(self, folder: Path) -> Page:
        """A run's report; one is written at a time.

        Raises:
            UserError: the log holds no whole event.
        """
        with self._lock:
            log = (folder / EVENTS).stat()
            mark = (log.st_size, log.st_mtime_ns)
            found = self._found.get(folder)
            if found is None or found[0] != mark:
                run = load_run(folder)
                found = self._found[folder] = (mark, report_page(run, run.columns))
            self._found.move_to_end(folder)
            while len(self._found) > MOST:
                self._found.popitem(last=False)
            return found[1]
