"""Runs that others ask for: each is a process of its own that goes on without this server.

A job's folder says what was asked for (`job.json`), what the process said (`said.txt`) and, once
it has ended, its exit code (`code`). Whoever asks again with the same number gets the same run.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from orchestrator.bundle.uploads import Uploads, private_folder
from orchestrator.bundle.wire import MISSING
from orchestrator.fleet.boards.person import AS_WHO
from orchestrator.serving.project import Project
from orchestrator.store.run_folder import EVENTS, new_name

SAID = 20_000  # bytes
State = Literal["planning", "begun", "refused", "missing"]


@dataclass(frozen=True)
class Asked:
    """What somebody asked for.

    Attributes:
        bundle: the matrix and its files; empty of a run that is resumed.
        run: the run's name.
        called: what the matrix is called there.
        resumes: whether it is an earlier run that goes on.
        who: as the fleet log names them.
        offset: bytes of the run's log before.
    """

    bundle: str
    run: str
    called: str
    who: str
    only: tuple[str, ...] = ()
    limit: int | None = None
    remeasure: bool = False
    resumes: bool = False
    offset: int = 0


@dataclass(frozen=True)
class Stand:
    """How a job stands: `said` and `exit_code` are of one that was refused."""

    run: str
    state: State
    offset: int = 0
    exit_code: int = 0
    said: str = ""


class Jobs:
    """Begins them and says how they stand."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._uploads = Uploads(project.state)
        self._lock = threading.Lock()

    def begin(self, number: str, asked: Asked) -> bool:
        """Begin a run; nothing where this was asked for before.

        Args:
            number: whoever asks has chosen it.

        Returns:
            Whether it is begun now.
        """
        folder = self._uploads.job(number)
        with self._lock:
            if (folder / "job.json").is_file():
                return False
            private_folder(folder)
            _write(folder / "job.json", json.dumps(asdict(asked)))
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(folder / "said.txt", "wb") as said:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.serving.job", *self._places(), str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
                pass_fds=(lock,),  # held until the process has ended
                env={**os.environ, AS_WHO: asked.who},
            )
        os.close(lock)
        threading.Thread(target=_await, args=(process, folder), daemon=True).start()
        return True

    def stand(self, number: str) -> Stand | None:
        """How a job stands; None where there is none."""
        folder = self._uploads.job(number)
        try:
            asked = read_asked(folder)
        except (OSError, ValueError, TypeError):
            return None
        going = _is_held(folder / "lock")
        if _bytes(self._project.runs / asked.run / EVENTS) > asked.offset:
            return Stand(asked.run, "begun", asked.offset)
        if going:
            return Stand(asked.run, "planning")
        code = _code(folder)
        if code == MISSING:
            return Stand(asked.run, "missing")
        if asked.resumes and code in (0, 1):  # nothing was left to do
            return Stand(asked.run, "begun", asked.offset)
        return Stand(asked.run, "refused", 0, code, self._said(folder, asked))

    def sent_by(self, run: str, who: str) -> bool:
        """Whether somebody sent a run, whose results they may therefore have."""
        for folder in self._uploads.job("").glob("*/job.json"):
            with contextlib.suppress(OSError, ValueError, TypeError):
                asked = read_asked(folder.parent)
                if asked.run == run and asked.who == who and not asked.resumes:
                    return True
        return False

    def again(self, number: str) -> None:
        """Forget a job whose contents are to be sent again."""
        with contextlib.suppress(OSError):
            (self._uploads.job(number) / "job.json").unlink()

    def _said(self, folder: Path, asked: Asked) -> str:
        """What a process said, without where things are on this computer."""
        with open(folder / "said.txt", errors="replace") as file:
            text = file.read(SAID)
        tree = self._uploads.tree(asked.bundle)
        for place in (tree.resolve(), tree):
            text = text.replace(f"{place}/", "")
        return text.removeprefix("farm: ").strip()

    def _places(self) -> list[str]:
        project = self._project
        return [str(path.resolve()) for path in (project.inventory, project.runs, project.state)]


def read_asked(folder: Path) -> Asked:
    """What a job's folder says.

    Raises:
        OSError, ValueError, TypeError: it says nothing that can be read.
    """
    found: Mapping[str, Any] = json.loads((folder / "job.json").read_text())
    return Asked(**{**found, "only": tuple(found["only"])})


def new_run() -> str:
    """A name for a run that is to begin."""
    return new_name()


def note_code(folder: Path, code: int) -> int:
    """Store a job's exit code; called by its own process, which may outlive the server."""
    _write(folder / "code", str(code))
    return code


def _await(process: subprocess.Popen[bytes], folder: Path) -> None:
    code = process.wait()
    if not (folder / "code").is_file():  # a signal left it no time
        note_code(folder, code)


def _code(folder: Path) -> int:
    try:
        return int((folder / "code").read_text())
    except (OSError, ValueError):
        return 4  # it was killed, and this server was started again meanwhile


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_held(path: Path) -> bool:
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _write(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
