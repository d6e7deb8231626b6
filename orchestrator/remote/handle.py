"""A run on a server, from Python."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from orchestrator.remote.runs import Begun, Remote, follow
from orchestrator.reporting.analysis.history import Run, load_run
from orchestrator.reporting.export.files import write_results
from orchestrator.reporting.live.console import View


class RemoteRun:
    """A run that a server carries out; it goes on whatever becomes of this process.

    Attributes:
        name: its name, there and here.
        folder: what is known of it here.
        url: of the server.
    """

    def __init__(self, remote: Remote, begun: Begun, *, progress: bool) -> None:
        self.name, self.folder, self.url = begun.folder.name, begun.folder, remote.server.url
        self._remote, self._begun, self._progress = remote, begun, progress

    def wait(self) -> Run:
        """Follow it to its end, through cut links, and fetch what it leaves.

        Returns:
            The run, whether complete or not: see its `outcome` and `failures`.

        Raises:
            UserError: another process here follows it, or the server does not know it any more.
            TransientError: nobody carries the run on.
            KeyboardInterrupt: Ctrl-C; the run goes on there, and `wait` may be called again.
        """

        def clock() -> float:
            return time.time() + self._begun.skew_s

        with View(Console(highlight=False, quiet=not self._progress), clock) as view:
            ended = follow(self._begun, view, view.say)
        if ended.signal is not None:
            raise KeyboardInterrupt(f"run {self.name} goes on at {self.url}")
        write_results(self.folder)
        return load_run(self.folder)

    def cancel(self) -> None:
        """Stop it, as Ctrl-C stops a run here: what it has finished stays stored there.

        Raises:
            UserError: it does not go on.
        """
        self._remote.cancel(self.name)

    @property
    def is_going(self) -> bool:
        """Whether it goes on."""
        return bool(self._remote.run(self.name)["going"])

    def __repr__(self) -> str:
        return f"<RemoteRun {self.name} at {self.url}>"


def begin(
    remote: Remote,
    matrix: str,
    *,
    only: tuple[str, ...],
    limit: int | None,
    remeasure: bool,
    runs: Path,
    progress: bool,
) -> RemoteRun:
    """Send a matrix with its files and have it run.

    Raises:
        UserError: as `Remote.begin`.
    """
    from orchestrator.request import Request

    request = Request(matrix, "", "", str(runs), only, limit)
    return RemoteRun(remote, remote.begin(request, remeasure=remeasure), progress=progress)
