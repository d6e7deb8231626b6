"""A Buildroot-like board over real dropbear: busybox, no SFTP, a root that is read-only.

Its Python is that of `userlands.build` (no `ctypes`, no `ssl`), with this host's numpy and
onnxruntime beside it. Writable are `/tmp` and `/run` alone, which are small and in memory, and
there is no `/dev/shm`. It takes root: a mount namespace, in which the board's files are `/`.
"""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.fleet.machines import debian
from tests import userlands
from tests.openssh import SshdAddress

PACKAGES = ("dropbear-bin",)
APPLETS = (
    *("head", "tail", "cut", "tr", "sed", "grep", "dd", "wc", "mkdir", "rm", "mv", "cp", "chmod"),
    *("df", "sync", "date", "printf", "test", "echo", "touch", "find", "sha256sum", "mount"),
)
STARTS_S = 30.0
_START = """
set -e
mount --make-rprivate /
mount --bind {root} {root}
mount --rbind /proc {root}/proc
mount --rbind /sys {root}/sys
mount -o remount,bind,ro {root}
mount -t tmpfs -o size=64k tmpfs {root}/run
mount -t tmpfs -o size={tmp_mb}m,mode=1777 tmpfs {root}/tmp
exec chroot {root} /bin/env -i HOME=/root PATH=/usr/bin:/bin:/usr/sbin:/sbin \
  /usr/sbin/dropbear -F -E -s -p 127.0.0.1:{port} -r /etc/dropbear/key -P /run/dropbear.pid
"""


def build(folder: Path) -> Path:
    """The root, made once."""
    root, done = folder / "root", folder / "board"
    if done.exists():
        return root
    userlands.build(folder)
    mirror = debian.configured_mirror()
    debian.unpack(debian.fetch(folder / "more", "amd64", "bookworm", mirror, PACKAGES), root)
    for name in APPLETS:
        if not (root / "bin" / name).exists():
            (root / "bin" / name).symlink_to("busybox")
    for place in ("root/.ssh", "etc/dropbear"):
        (root / place).mkdir(mode=0o700, parents=True, exist_ok=True)
    (root / "root").chmod(0o700)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/shells").write_text("/bin/sh\n")
    shutil.rmtree(folder / "more")
    done.touch()
    return root


@contextmanager
def running(folder: Path, public_key: str, tmp_mb: int = 64) -> Iterator[SshdAddress]:
    """Run the board for the length of a `with`.

    Args:
        folder: where it is built.
        public_key: the one public key line that is let in.
        tmp_mb: how much its `/tmp` takes.
    """
    root = build(folder)
    (root / "root/.ssh/authorized_keys").write_text(public_key + "\n")
    (root / "root/.ssh/authorized_keys").chmod(0o600)
    key = root / "etc/dropbear/key"
    if not key.exists():
        words = ["dropbearkey", "-t", "ed25519", "-f", key]
        subprocess.run(words, capture_output=True, check=True)
    said = subprocess.check_output(["dropbearkey", "-y", "-f", key], text=True)
    line = next(row for row in said.splitlines() if row.startswith("ssh-ed25519"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = _START.format(root=shlex.quote(str(root)), port=port, tmp_mb=tmp_mb)
    log = folder / "dropbear.log"
    with open(log, "wb") as file:
        board = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script], stdin=subprocess.DEVNULL, stderr=file
        )
    try:
        _answers(port, board, log)
        yield SshdAddress("127.0.0.1", port, "root", " ".join(line.split()[:2]), board)
    finally:
        board.terminate()
        board.wait(10)


def _answers(port: int, board: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + STARTS_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if board.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the board did not start: {log.read_text()}") from None
            time.sleep(0.05)
