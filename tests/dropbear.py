"""A private dropbear, as small boards run it: no SFTP, a read-only root, all writes into memory.

In a mount namespace of its own, for which it takes root; nothing of this machine changes.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.openssh import SshdAddress

# Nothing in place of the SFTP server and of the shell's start-up file; the key in place of the
# user's own; memory where a board has it; all else read-only.
_SETUP = """
set -e
mount --make-rprivate /
if [ -e /usr/lib/sftp-server ]; then
  mount --bind /dev/null "$(readlink -f /usr/lib/sftp-server)"
fi
mount --bind {ssh} {home}/.ssh
if [ -e {home}/.bashrc ]; then mount --bind /dev/null {home}/.bashrc; fi
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs {data}
mount -o remount,bind,ro /
exec dropbear -F -E -s -p 127.0.0.1:{port} -r {host_key} {forced}
"""


@contextmanager
def running_dropbear(
    tmp_path: Path, public_key: str, login: Path | None = None
) -> Iterator[tuple[SshdAddress, Path]]:
    """Run dropbear for the length of a `with`; its address and the folder that can be written.

    Args:
        tmp_path: where its keys and log lie.
        public_key: the one public key line that is let in.
        login: a program that gets every command in the place of the user's shell.
    """
    home = Path.home()
    (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    ssh, data, host_key = (tmp_path / name for name in ("ssh", "data", "dropbear_key"))
    ssh.mkdir(mode=0o700)
    data.mkdir()
    (ssh / "authorized_keys").write_text(public_key + "\n")
    (ssh / "authorized_keys").chmod(0o600)
    made = subprocess.run(
        ["dropbearkey", "-t", "ed25519", "-f", host_key], capture_output=True, check=True, text=True
    )
    line = next(row for row in made.stdout.splitlines() if row.startswith("ssh-ed25519"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = {"ssh": ssh, "home": home, "data": data, "host_key": host_key, "port": port}
    quoted = {name: shlex.quote(str(word)) for name, word in words.items()}
    script = _SETUP.format(**quoted, forced=f"-c {shlex.quote(str(login))}" if login else "")
    log = tmp_path / "dropbear.log"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [shutil.which("unshare") or "unshare", "-m", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stderr=file,
            env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"},
        )
    try:
        end = time.monotonic() + 15
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"dropbear did not start: {log.read_text()}") from None
                time.sleep(0.02)
        key = " ".join(line.split()[:2])
        yield SshdAddress("127.0.0.1", port, home.owner(), key, process), data
    finally:
        process.terminate()
        process.wait(10)
