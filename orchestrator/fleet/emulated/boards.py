"""The emulated boards of this host: started at need, each with a home, a port and a host key.

The first few have a server process each, as boards are machines each; of many, those that come
later share these processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import TransientError, UserError
from orchestrator.fleet.transport.deadline import Deadline
from orchestrator.fleet.transport.processes import is_zombie
from orchestrator.fleet.transport.untrusted import one_line
from orchestrator.machines import Machine

USER = "farm"
START_S = 60.0
STOP_S = 5.0
MOST_PROCESSES = 8
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class EmulatedAddress:
    """What a client needs to reach an emulated board; `host_key` is its pin."""

    host: str
    port: int
    user: str
    key_file: Path
    host_key: str


class _Server:
    """A server process and the boards in it. `ask` may be called from any thread."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log
        self.boards: set[str] = set()
        self._talk = threading.Lock()
        self._has_greeted = False
        self._greeting: dict[str, Any] | None = None

    @property
    def alive(self) -> bool:
        # One that was killed stays unreaped for a moment, until the last of its threads is gone.
        return self.process.poll() is None and not is_zombie(self.process.pid)

    def greeting(self) -> dict[str, Any] | None:
        """What it says of its first board, None when it ended or says nothing."""
        with self._talk:
            return self._greeted()

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any] | None:
        """Its answer, None when it has ended or says nothing."""
        assert self.process.stdin
        with self._talk:
            self._greeted()
            try:
                self.process.stdin.write(json.dumps(question).encode() + b"\n")
                self.process.stdin.flush()
            except (OSError, ValueError):
                return None
            return _first_line(self.process, Deadline(START_S))

    def _greeted(self) -> dict[str, Any] | None:
        if not self._has_greeted:
            self._has_greeted = True
            self._greeting = _first_line(self.process, Deadline(START_S))
        return self._greeting


@dataclass(frozen=True)
class _Running:
    server: _Server
    address: EmulatedAddress


class EmulatedFleet:
    """Starts and ends emulated boards. Safe to call from several threads.

    The servers die with the process that made this object, however it ends.

    Args:
        state_dir: where `client_key`, `<name>/host_key`, `<name>/home` and `<name>/server.log`
            lie; made, for this user only, when missing.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir.resolve()
        self._lock = threading.Lock()
        self._names: dict[str, threading.Lock] = {}
        self._running: dict[str, _Running] = {}
        self._servers: list[_Server] = []
        self._closed = False

    def start(
        self,
        name: str,
        *,
        sftp: bool = True,
        python: str | None = sys.executable,
        machine: Machine | None = None,
    ) -> EmulatedAddress:
        """Start the board `name`, or return its address when it runs already.

        Args:
            name: the board's name; its files lie below `state_dir/<name>`.
            sftp: False emulates a board whose SSH server has no SFTP.
            python: what `python3` runs on the board; None emulates a board without it.
            machine: its processor, whose shell and Python it then has; None: this host's.

        Raises:
            UserError: the name cannot be a folder's.
            TransientError: the server did not start.
        """
        if not _NAME.fullmatch(name):
            raise UserError(
                f"{name!r} cannot be the name of an emulated board",
                "use letters, digits, dots, dashes and underscores",
            )
        with self._lock:
            lock = self._names.setdefault(name, threading.Lock())
        with lock:
            running = self._running.get(name)
            if running is not None and running.server.alive:
                return running.address
            own = ["--python", python] if python else ["--no-python"]
            if machine is not None:
                own = ["--python", machine.python, "--shell", machine.shell, "--path", machine.path]
            running = self._launch(name, sftp, own)
            with self._lock:
                if not self._closed:
                    self._running[name] = running
                    return running.address
            _end_process(running.server.process)
            raise TransientError(f"{name}: the emulated boards are being stopped")

    def _launch(self, name: str, sftp: bool, own: list[str]) -> _Running:
        folder = self.state_dir / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        client_key = self.state_dir / "client_key"
        client_line = ensure_key(client_key)
        ensure_key(folder / "host_key")
        arguments = [
            *("--home", str(folder / "home"), "--host-key", str(folder / "host_key")),
            *("--client-key", client_line, "--user", USER),
            *own,
            *([] if sftp else ["--no-sftp"]),
        ]
        server, ready = self._place(name, folder, arguments)
        if ready is None or "error" in ready:
            log = server.log
            words = (ready or {}).get("error") or one_line(log.read_bytes()) or "it said nothing"
            self._leave(name, server)
            raise TransientError(
                f"{name}: the emulated board did not start: {one_line(str(words))}", f"see {log}"
            )
        address = EmulatedAddress(
            "127.0.0.1", int(ready["port"]), USER, client_key, str(ready["host_key"])
        )
        return _Running(server, address)

    def _place(
        self, name: str, folder: Path, arguments: list[str]
    ) -> tuple[_Server, dict[str, Any] | None]:
        """A process with the board in it, and what it answered."""
        with self._lock:
            self._servers = [server for server in self._servers if server.alive]
            new = len(self._servers) < MOST_PROCESSES
            if new:
                server = _started(folder, arguments)
                self._servers.append(server)
            else:
                server = min(self._servers, key=lambda each: len(each.boards))
            server.boards.add(name)
        if not new:
            return server, server.ask({"start": arguments})
        try:
            return server, server.greeting()
        except BaseException:
            self._leave(name, server)
            raise

    def _leave(self, name: str, server: _Server) -> None:
        """A board is no longer in a process, which ends with its last one."""
        with self._lock:
            server.boards.discard(name)
            empty = not server.boards
            if empty and server in self._servers:
                self._servers.remove(server)
        if empty:
            _end_process(server.process)

    def stop(self, name: str) -> None:
        """End the board `name` and its commands; does nothing when it does not run."""
        with self._lock:
            running = self._running.pop(name, None)
            alone = running is not None and running.server.boards == {name}
        if running is None:
            return
        if not alone:
            running.server.ask({"stop": running.address.port})
        self._leave(name, running.server)

    def close(self) -> None:
        """End all boards."""
        with self._lock:
            self._closed = True
            self._running = {}
            servers, self._servers = self._servers, []
        for server in servers:
            _hang_up(server.process)
        for server in servers:
            _end_process(server.process)

    def __enter__(self) -> EmulatedFleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _started(folder: Path, arguments: list[str]) -> _Server:
    command = [sys.executable, "-m", "orchestrator.fleet.emulated.server", *arguments]
    packages = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(filter(None, (packages, os.environ.get("PYTHONPATH"))))
    log_path = folder / "server.log"
    with open(log_path, "wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            # Away from the terminal: Ctrl-C is for farm, which then ends its boards in order.
            start_new_session=True,
        )
    return _Server(process, log_path)


def ensure_key(path: Path) -> str:
    """The public line of the private key at `path`, an ed25519 key made (0600) when missing.

    Two processes may ask at once: one key wins, and both get it.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = Ed25519PrivateKey.generate().private_bytes(
            form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()
        )
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".key.") as file:  # mode 0600
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
    key = form.load_ssh_private_key(path.read_bytes(), None)
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    return public.decode()


def _first_line(process: subprocess.Popen[bytes], deadline: Deadline) -> dict[str, Any] | None:
    assert process.stdout
    text = b""
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], deadline.remaining())
        data = os.read(process.stdout.fileno(), 4096) if ready else b""
        if not data:
            return None
        text += data
    answer: dict[str, Any] = json.loads(text)
    return answer


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    with contextlib.suppress(OSError):
        process.stdin.close()


def _end_process(process: subprocess.Popen[bytes]) -> None:
    _hang_up(process)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout
    process.stdout.close()
