"""The emulated boards of this host: started at need, each a process with a home and a host key."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import TransientError, UserError
from orchestrator.fleet.deadline import Deadline
from orchestrator.fleet.untrusted import one_line

USER = "farm"
START_S = 60.0
STOP_S = 5.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class EmulatedAddress:
    """What a client needs to reach an emulated board; `host_key` is its pin."""

    host: str
    port: int
    user: str
    key_file: Path
    host_key: str


@dataclass
class _Server:
    process: subprocess.Popen[bytes]
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
        self._servers: dict[str, _Server] = {}
        self._closed = False

    def start(
        self, name: str, *, sftp: bool = True, python: str | None = sys.executable
    ) -> EmulatedAddress:
        """Start the board `name`, or return its address when it runs already.

        Args:
            name: the board's name; its files lie below `state_dir/<name>`.
            sftp: False emulates a board whose SSH server has no SFTP.
            python: what `python3` runs on the board; None emulates a board without it.

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
            server = self._servers.get(name)
            if server is not None and server.process.poll() is None:
                return server.address
            server = self._launch(name, sftp, python)
            with self._lock:
                if not self._closed:
                    self._servers[name] = server
                    return server.address
            _end(server)
            raise TransientError(f"{name}: the emulated boards are being stopped")

    def _launch(self, name: str, sftp: bool, python: str | None) -> _Server:
        folder = self.state_dir / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        client_key = self.state_dir / "client_key"
        client_line = ensure_key(client_key)
        ensure_key(folder / "host_key")
        command = [
            *(sys.executable, "-m", "orchestrator.fleet.emulated_server"),
            *("--home", str(folder / "home"), "--host-key", str(folder / "host_key")),
            *("--client-key", client_line, "--user", USER),
            *(["--python", python] if python else ["--no-python"]),
            *([] if sftp else ["--no-sftp"]),
        ]
        packages = str(Path(__file__).resolve().parents[2])
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
        try:
            ready = _first_line(process, Deadline(START_S))
        except BaseException:
            _end_process(process)
            raise
        if ready is None:
            _end_process(process)
            words = one_line(log_path.read_bytes()) or "it said nothing"
            raise TransientError(
                f"{name}: the emulated board did not start: {words}", f"see {log_path}"
            )
        address = EmulatedAddress(
            "127.0.0.1", int(ready["port"]), USER, client_key, str(ready["host_key"])
        )
        return _Server(process, address)

    def stop(self, name: str) -> None:
        """End the board `name` and its commands; does nothing when it does not run."""
        with self._lock:
            server = self._servers.pop(name, None)
        if server is not None:
            _end(server)

    def close(self) -> None:
        """End all boards."""
        with self._lock:
            self._closed = True
            servers, self._servers = self._servers, {}
        for server in servers.values():
            _hang_up(server.process)
        for server in servers.values():
            _end(server)

    def __enter__(self) -> EmulatedFleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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


def _end(server: _Server) -> None:
    _end_process(server.process)
