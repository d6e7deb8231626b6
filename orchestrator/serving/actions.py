"""What a page may change, where it may: each is noted in the fleet log with who asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from orchestrator.errors import UserError
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
from orchestrator.store.going import LOCK

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
        threading.Thread(target=self._check, args=(board,), daemon=True).start()

    def checking(self, board: str) -> bool:
        """Whether a check that was asked for goes on."""
        return board in self._checking

    def _check(self, board: str) -> None:
        try:
            self._farm("boards", "check", "--", board).wait()
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
            running = self._farm("run", str(matrix), "--quiet", said=said.fileno())
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
        held = _holding(folder / LOCK)
        # The supervisor, above its driver.
        first = [pid for pid in held if _parent(pid) not in held]
        for pid in first:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)
        return bool(first)

    def _note(self, entry: Entry) -> None:
        self._log.append(entry)

    def _farm(self, *words: str, said: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
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
        )


def _holding(lock: Path) -> set[int]:
    """Processes of this user that have a file open."""
    found = set()
    with suppress(OSError):
        wanted = lock.stat()
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and process.name != str(os.getpid()):
                with suppress(OSError):
                    for each in (process / "fd").iterdir():
                        with suppress(OSError):
                            there = each.stat()
                            if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
                                found.add(int(process.name))
    return found


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
