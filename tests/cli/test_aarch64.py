"""`farm boards add` against a Debian for 64-bit ARM, run by QEMU's user mode, dressed as a board.

Needs root (chroot, binfmt_misc) and the package mirrors; skipped where they are not to be had.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.fleet.emulated.boards import ensure_key
from orchestrator.fleet.transport.known_keys import HostKey
from tests.cli.servers import Farm
from tests.fleet.dressed import BOARDS, dress
from tests.openssh import _wait_until_listening

pytestmark = [
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.needs("mmdebstrap", "qemu-aarch64-static"),
]
BINFMT = Path("/proc/sys/fs/binfmt_misc")
CONFIGURATION = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
PACKAGES = (
    "python3-minimal,python3,libpython3-stdlib,openssh-server,openssh-sftp-server,coreutils,dash,"
    "base-passwd,libc-bin,sed,grep,findutils,bash,libstdc++6,libgomp1,procps"
)
DEVICES = (("null", 1, 3), ("zero", 1, 5), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))


def call(*words: str, timeout: float = 300) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(words)[:80]}: {done.stderr[-300:]}")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian root for aarch64 with Python and onnxruntime, nothing of it configured."""
    if os.geteuid() != 0 or not CONFIGURATION.exists():
        pytest.skip("needs root, and qemu-user-static")
    if not (BINFMT / "register").exists():
        call("mount", "-t", "binfmt_misc", "none", str(BINFMT))
    if not (BINFMT / "qemu-aarch64").exists():
        (BINFMT / "register").write_bytes(CONFIGURATION.read_bytes())
    folder = tmp_path_factory.mktemp("arm")
    made = folder / "root"
    call(
        *("mmdebstrap", "--variant=extract", "--architectures=arm64", f"--include={PACKAGES}"),
        *("bookworm", str(made)),
        timeout=600,
    )
    wheels = folder / "wheels"
    call(
        *(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"),
        *("--platform", "manylinux_2_28_aarch64", "--platform", "manylinux_2_27_aarch64"),
        *("--python-version", "3.11", "-d", str(wheels), "onnxruntime", "numpy"),
    )
    packages = made / "usr/lib/python3/dist-packages"
    packages.mkdir(parents=True, exist_ok=True)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as file:
            file.extractall(packages)
    master = (made / "usr/share/base-passwd/passwd.master").read_text()
    accounts = master.replace("root:*:", "root:x:")
    accounts += "sshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n"
    (made / "etc/passwd").write_text(accounts)
    shutil.copy(made / "usr/share/base-passwd/group.master", made / "etc/group")
    for name, major, minor in DEVICES:
        if not (made / "dev" / name).exists():
            os.mknod(made / "dev" / name, 0o20666, os.makedev(major, minor))
    for place in ("run/sshd", "root/.ssh", "proc"):
        (made / place).mkdir(parents=True, exist_ok=True)
    if not (made / "bin/sh").exists():
        (made / "bin/sh").symlink_to("dash")
    files = dict(BOARDS["nxp"].files)
    files.pop("etc/os-release")
    # QEMU's user mode shows this computer's, which tells it apart from a board.
    files["proc/cpuinfo"] = Path("/proc/cpuinfo").read_bytes()
    return dress(made, files)


@pytest.fixture
def board(root: Path, tmp_path: Path) -> Iterator[tuple[int, str, Path]]:
    """Its SSH server: port, host key, and the key that opens it."""
    key = tmp_path / "key"
    (root / "root/.ssh/authorized_keys").write_text(ensure_key(key) + "\n")
    host_key = ensure_key(root / "etc/farm_host_key")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (root / "etc/farm_sshd").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey /etc/farm_host_key\n"
        "AuthorizedKeysFile /root/.ssh/authorized_keys\nPidFile none\nUsePAM no\nStrictModes no\n"
        "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
    )
    log = tmp_path / "sshd.log"
    with open(log, "wb") as file:
        server = subprocess.Popen(
            ["chroot", str(root), "/usr/sbin/sshd", "-D", "-e", "-f", "/etc/farm_sshd"],
            stdin=subprocess.DEVNULL,
            stderr=file,
        )
    try:
        _wait_until_listening(port, server, log)
        yield port, host_key, key
    finally:
        server.terminate()
        server.wait(10)


def test_a_board_of_another_architecture_proves_itself(
    board: tuple[int, str, Path], farm: Farm
) -> None:
    port, host_key, key = board
    began = time.monotonic()
    code, out, err = farm(
        *("add", f"root@127.0.0.1:{port}", "--key", str(key), "--yes", "--name", "nxp"),
        *("--host-key", HostKey.parse(host_key).fingerprint),
    )
    assert code == 1, out + err
    assert "aarch64" in out
    assert "onnxruntime: passed" in out
    assert "imx8mp" in out
    assert "emulator: its system says aarch64 and its /proc/cpuinfo is of x86" in out
    inventory = Path("device_inventory.yaml")
    inventory.write_text(inventory.read_text().rstrip() + "\n    runtime: onnxruntime\n")
    code, out, err = farm("check", "nxp")
    assert code == 0, out + err
    (shown,) = json.loads(farm("list", "--json")[1])
    assert shown["state"] == "ready"
    print(f"added and checked in {time.monotonic() - began:.0f} s")
