"""A virtual aarch64 board that boots: QEMU's system emulation, Debian's kernel, dropbear.

`python -m tests.virtual_board FOLDER on|off` is its power switch: off is SIGKILL to QEMU, so that
what the kernel had not written is lost, as with a cable that is pulled. Its clock has no battery:
it begins in 1970 at each start. A kernel that panics hangs until its power is cycled.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

from orchestrator.fleet.emulated.boards import ensure_key
from orchestrator.fleet.machines import debian

PACKAGES = (
    *("linux-image-cloud-arm64", "busybox-static", "dropbear-bin", "python3", "python3-minimal"),
    *("libstdc++6", "libgomp1"),
)
MODULES = (
    *("virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"),
    *("failover", "net_failover", "virtio_net", "virtio_blk"),
)
WHEELS = ("onnxruntime", "numpy")
QEMU = "qemu-system-aarch64"
EARLY = """\
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /new
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for m in {modules}; do insmod /modules/$m.ko; done
n=0; while [ ! -e /dev/vda ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
mount -t ext4 /dev/vda /new && exec switch_root /new /sbin/farm-init
echo "no root file system"; poweroff -f
"""
INIT = """\
#!/bin/sh
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /tmp; mount -t tmpfs tmpfs /run
hostname virtual
ip link set lo up; ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
dropbear -E -s -p 22 -r /etc/dropbear/key
while :; do sleep 1000; done
"""
APPLETS = (
    *("sh", "mount", "ip", "hostname", "sleep", "cat", "ls", "mkdir", "rm", "mv", "chmod", "uname"),
    *("sed", "grep", "tr", "head", "date", "printf", "sync", "df", "ps", "kill", "test", "echo"),
    *("dd", "wc", "sha256sum", "cp", "find", "id", "env", "nice", "touch", "tail", "cut"),
)


def build(folder: Path) -> dict[str, str]:
    """Disk, kernel and initrd, made once; `key` opens it, `host_key` is its own."""
    known = folder / "board.json"
    if known.exists():
        found: dict[str, str] = json.loads(known.read_text())
        return found
    root, early = folder / "root", folder / "early"
    mirror = debian.configured_mirror()
    debian.unpack(debian.fetch(folder / "work", "arm64", "bookworm", mirror, PACKAGES), root)
    _wheels(folder, root / "usr/lib/python3/dist-packages")
    for name in APPLETS:
        if not (root / "bin" / name).exists():
            (root / "bin" / name).symlink_to("busybox")
    for place in ("proc", "sys", "dev", "tmp", "run", "root/.ssh", "etc/dropbear", "var/log"):
        (root / place).mkdir(parents=True, exist_ok=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/shells").write_text("/bin/sh\n")
    (root / "root/.ssh/authorized_keys").write_text(ensure_key(folder / "key") + "\n")
    for place in ("root", "root/.ssh"):
        (root / place).chmod(0o700)
    made = subprocess.run(
        ["dropbearkey", "-t", "ed25519", "-f", str(root / "etc/dropbear/key")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    host_key = next(line for line in made.splitlines() if line.startswith("ssh-ed25519"))
    _program(root / "sbin/farm-init", INIT)
    _initrd(root, early, folder / "initrd")
    shutil.copy2(next((root / "boot").glob("vmlinuz-*")), folder / "kernel")
    shutil.rmtree(root / "boot")
    shutil.rmtree(root / "lib/modules")
    disk = ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(folder / "disk.img"), "600M"]
    subprocess.run(disk, check=True, capture_output=True, env={**os.environ, "PATH": _PATH})
    shutil.rmtree(root)
    shutil.rmtree(folder / "work")
    about = {"key": str(folder / "key"), "host_key": " ".join(host_key.split()[:2])}
    known.write_text(json.dumps(about))
    return about


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _wheels(folder: Path, place: Path) -> None:
    wanted = [f"{name}=={metadata.version(name)}" for name in WHEELS]
    words = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    for platform in ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64"):
        words += ["--platform", platform]
    words += ["--python-version", "3.11", "-d", str(folder / "work/wheels"), *wanted]
    subprocess.run(words, check=True, capture_output=True)
    place.mkdir(parents=True, exist_ok=True)
    for wheel in (folder / "work/wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as file:
            file.extractall(place)


def _initrd(root: Path, early: Path, target: Path) -> None:
    (early / "bin").mkdir(parents=True)
    (early / "modules").mkdir()
    shutil.copy2(root / "bin/busybox", early / "bin/busybox")
    for name in MODULES:
        (module,) = (root / "lib/modules").rglob(f"{name}.ko")
        shutil.copy2(module, early / "modules")
    _program(early / "init", EARLY.format(modules=" ".join(MODULES)))
    # Without a `cpio` here, busybox makes the archive.
    listed = subprocess.run(
        ["busybox", "sh", "-c", "find . | busybox cpio -o -H newc"],
        cwd=early,
        capture_output=True,
        check=True,
    )
    target.write_bytes(listed.stdout)


def switch_on(folder: Path) -> None:
    """Start it; returns at once."""
    port = (folder / "port").read_text().strip()
    words = [QEMU, "-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1024"]
    words += ["-accel", "tcg,thread=multi", "-nographic", "-rtc", "base=1970-01-01T00:00:30"]
    words += ["-qmp", f"unix:{folder / 'monitor'},server=on,wait=off"]
    words += ["-kernel", str(folder / "kernel"), "-initrd", str(folder / "initrd")]
    words += ["-append", "console=ttyAMA0 quiet panic=0"]
    words += ["-drive", f"file={folder / 'disk.img'},format=raw,if=virtio"]
    words += ["-netdev", f"user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"]
    words += ["-device", "virtio-net-pci,netdev=n,romfile="]
    with open(folder / "console", "ab") as console:
        board = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    (folder / "pid").write_text(str(board.pid))


def switch_off(folder: Path) -> None:
    """Cut its power."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
        (folder / "pid").unlink()


def monitor(folder: Path, command: str, **arguments: object) -> None:
    """Ask QEMU for something: `system_reset`, `set_link` (of the network `n`).

    Raises:
        RuntimeError: it refused.
    """
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(30)
        made.connect(str(folder / "monitor"))
        with made.makefile("rw") as talk:
            talk.readline()  # its greeting
            for words in ({"execute": "qmp_capabilities"}, {"execute": command}):
                if words["execute"] == command and arguments:
                    words = {"execute": command, "arguments": arguments}
                talk.write(json.dumps(words) + "\n")
                talk.flush()
                answer = json.loads(talk.readline())
                while "event" in answer:
                    answer = json.loads(talk.readline())
                if "error" in answer:
                    raise RuntimeError(f"{command}: {answer['error']}")


def main(folder: str, action: str) -> None:
    """The power switch; each use is a line of `switched`."""
    place = Path(folder)
    with open(place / "switched", "a") as log:
        log.write(action + "\n")
    (switch_on if action == "on" else switch_off)(place)


if __name__ == "__main__":
    main(*sys.argv[1:3])
