"""What a page may change, where it may: each is noted in the fleet log with who asked for it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.fleet.boards.person import AS_WHO
from orchestrator.fleet.transport.untrusted import headline
from orchestrator.reporting.analysis.history import run_folders
from orchestrator.serving.project import Project
from orchestrator.store.fleet_entries import (
    Asked,
    Drained,
    Entry,
    Reserved,
    Undrained,
    Unreserved,
)
from orchestrator.store.fleet_log import FleetLog
from orchestrator.store.going import stop

REASON = 300  # characters
BEGINS_WITHIN_S = 60.0
"""How long a page waits to hear that a run begins or is refused; the run has all the time."""
POLL_S = 0.1


class Actions:
    """Carries out what is asked for; `who` is whoever asks, as the fleet log names them."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._log = FleetLog(project.runs)
        self._checking: set[str] = set()
        self._lock = threading.Lock()

    def drain(self, who: str, board: str, why: str) -> None:
        """No new work."""
        self._note(Drained(board=board, by=who, reason=headline(why, REASON)))

    def undrain(self, who: str, board: str) -> None:
        """Work again."""
        self._note(Undrained(board=board, by=who))

    def reserve(self, who: str, board: str, seconds: float, why: str) -> None:
        """For whoever asks, after whoever has reserved it before."""
        reason = headline(why, REASON)
        self._note(Reserved(board=board, by=who, for_s=seconds, reason=reason))

    def unreserve(self, who: str, board: str) -> None:
        """One's own reservation is given back."""
        self._note(Unreserved(board=board, by=who, whose=who))

    def check(self, who: str, board: str) -> None:
        """A tiny real inference there, by `farm boards check`; the fleet log gets what it finds."""
        with self._lock:
            if board in self._checking:
                return
            self._checking.add(board)
        self._note(Asked(board=board, by=who, reason="a check"))
        threading.Thread(target=self._check, args=(who, board), daemon=True).start()

    def checking(self, board: str) -> bool:
        """Whether a check that was asked for goes on."""
        return board in self._checking

    def _check(self, who: str, board: str) -> None:
        try:
            self._farm("boards", "check", "--", board, who=who).wait()
        finally:
            with self._lock:
                self._checking.discard(board)

    def run(self, who: str, matrix: Path) -> None:
        """Begin a run, which goes on whatever becomes of this server.

        Args:
            matrix: a file of the project.

        Raises:
            UserError: it was refused.
        """
        self._note(Asked(board="", by=who, reason=f"a run of {matrix.name}"))
        before, end = self._runs(), time.monotonic() + BEGINS_WITHIN_S
        with tempfile.TemporaryFile("w+", errors="replace") as said:
            words = ("run", str(matrix), "--quiet")
            running = self._farm(*words, said=said.fileno(), who=who)
            while running.poll() is None and self._runs() <= before:
                if time.monotonic() > end:
                    return
                time.sleep(POLL_S)
            if running.poll() not in (None, 0, 1):
                said.seek(0)
                raise UserError(said.read(20_000).strip() or "the run was refused")

    def _runs(self) -> set[str]:
        return {folder.name for folder in run_folders(self._project.runs)}

    def cancel(self, who: str, folder: Path) -> bool:
        """Stop a run as Ctrl-C does: what it has finished is stored.

        Args:
            folder: the run's.

        Returns:
            Whether whoever carries it on was found on this computer.
        """
        self._note(Asked(board="", by=who, reason=f"to stop run {folder.name}"))
        return stop(folder)

    def note_run(self, who: str, what: str) -> None:
        """Somebody asks for a run, or for something of one."""
        self._note(Asked(board="", by=who, reason=what))

    def _note(self, entry: Entry) -> None:
        self._log.append(entry)

    def _farm(
        self, *words: str, said: int = subprocess.DEVNULL, who: str = ""
    ) -> subprocess.Popen[bytes]:
        places = {"--runs": self._project.runs, "--state": self._project.state}
        places["--inventory"] = self._project.inventory
        options = [word for name, path in places.items() for word in (name, str(path.resolve()))]
        command, rest = list(words), []
        if "--" in command:
            place = command.index("--")
            command, rest = command[:place], command[place:]
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli.main", *command, *options, *rest],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
            env={**os.environ, AS_WHO: who},
        )
