"""A private OpenSSH server for tests: loopback only, one key, no root, nothing of the system's."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.fleet.emulated.boards import ensure_key

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or ""
SFTP_SERVER = "internal-sftp"


@dataclass(frozen=True)
class SshdAddress:
    host: str
    port: int
    user: str
    host_key: str
    process: subprocess.Popen[bytes]


@contextmanager
def running_sshd(
    tmp_path: Path,
    public_key: str,
    *,
    sftp: bool = True,
    environment: Mapping[str, str] | None = None,
    settings: str = "",
    wrapped: tuple[Sequence[str], Mapping[str, str]] = ((), {}),
) -> Iterator[SshdAddress]:
    """Run `sshd` as this user for the length of a `with`.

    Args:
        tmp_path: where its configuration, keys and log lie.
        public_key: the one public key line that is let in.
        sftp: whether it has an SFTP subsystem.
        environment: set for every command, such as HOME (an empty folder when left out) and PATH;
            commands still start in the user's real home directory.
        settings: more lines of sshd_config; they outweigh the usual ones.
        wrapped: a command that starts the server, and its environment.
    """
    folder = tmp_path / "sshd"
    folder.mkdir(mode=0o700, exist_ok=True)
    host_key = ensure_key(folder / "host_key")
    (folder / "authorized_keys").write_text(public_key + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    lines = [
        settings,
        "ListenAddress 127.0.0.1",
        f"Port {port}",
        f"HostKey {folder / 'host_key'}",
        f"AuthorizedKeysFile {folder / 'authorized_keys'}",
        "PidFile none",
        "UsePAM no",
        "StrictModes no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        "MaxStartups 100",
        "MaxSessions 50",
    ]
    if sftp:
        lines.append(f"Subsystem sftp {SFTP_SERVER}")
    # A board's lock is one for its whole machine; these boards are many on one. A home of its own
    # spares every command the start-up files of the user's shell.
    variables = {"FARM_LOCK_FOLDER": str(folder), "HOME": str(folder), **(environment or {})}
    lines.append("SetEnv " + " ".join(f'"{k}={v}"' for k, v in variables.items()))
    config = folder / "sshd_config"
    config.write_text("\n".join(lines) + "\n")
    log = folder / "log"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [*wrapped[0], SSHD, "-D", "-e", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stderr=file,
            env=dict(wrapped[1]) or None,
        )
    try:
        _wait_until_listening(port, process, log)
        yield SshdAddress("127.0.0.1", port, getpass.getuser(), host_key, process)
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 15
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"sshd did not start: {log.read_text()[-2000:]}")
