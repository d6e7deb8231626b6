"""The agent's tests in other userlands: `python -m tests.userlands aarch64|armv7l|busybox`.

aarch64 and armv7l are what `farm boards machine install` makes (glibc, 64 and 32 bits). busybox is
Buildroot-like: busybox and Debian's Python in a root of their own that is read-only, without
`/dev/shm`, with a tiny `/run` and without Python's `ctypes`, `ssl`, `sqlite3` and the C parts of
`multiprocessing`, as images for RV1126 have it; this host's numpy and onnxruntime work there all
the same. That one needs root (chroot, a mount namespace).
Vendors' shims are compiled for the processor where there is a compiler for it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from orchestrator import machines
from orchestrator.fleet.machines import debian, installing
from orchestrator.fleet.machines.recipes import RECIPES

USERLANDS = ("aarch64", "armv7l", "busybox")
COMPILERS = {"aarch64": "aarch64-linux-gnu-gcc", "armv7l": "arm-linux-gnueabihf-gcc"}
# What speaks with an agent; the other files are about this host's side or about other Pythons.
FILES = ("preprocess", "conformance", "session", "faults", "lock", "kept", "measuring", "pipeline")
PACKAGES = ("python3", "python3-minimal", "busybox-static", "libstdc++6", "libgomp1")
WHEELS = ("numpy", "numpy.libs", "onnxruntime")
# The root's Python is Debian 12's.
WHEELS_FIT = sys.version_info[:2] == (3, 11) and os.uname().machine == "x86_64"
ABSENT = (
    "_ctypes*",
    "_ssl*",
    "_sqlite3*",
    "_multiprocessing*",
    "_posixshmem*",
    "_uuid*",
    "_curses*",
)
ENTER = """\
#!/bin/sh
# Runs the Python of {root} in a mount namespace of its own; {temporary} is this host's.
exec unshare -m /bin/sh -c '
mount --make-rprivate / && mount --bind {root} {root} && mount -o remount,ro,bind {root} &&
mount -t tmpfs -o size=64k tmpfs {root}/run && mount --rbind /proc {root}/proc &&
mount --rbind /sys {root}/sys && mount --bind {temporary} {root}{temporary} &&
exec chroot {root} /bin/sh -c "cd {temporary}; exec /usr/bin/python3 \\"\\$@\\"" sh "$@"
' sh "$@"
"""
DEVICES = (("null", 1, 3), ("zero", 1, 5), ("urandom", 1, 9), ("random", 1, 8), ("tty", 5, 0))


def build(folder: Path) -> Path:
    """The root, made once; the program that runs its Python."""
    root, program = folder / "root", folder / "python3"
    if not program.exists():
        mirror = debian.configured_mirror()
        debian.unpack(debian.fetch(folder / "work", "amd64", "bookworm", mirror, PACKAGES), root)
        for name in ABSENT:
            for path in (root / "usr/lib/python3.11/lib-dynload").glob(name):
                path.unlink()
        shutil.rmtree(root / "usr/lib/python3.11/ctypes")
        _copy_wheels(root / "usr/lib/python3/dist-packages")
        for place in ("proc", "sys", "dev", "run", "tmp", "root", "lib64"):
            (root / place).mkdir(exist_ok=True)
        for name, major, minor in DEVICES:
            if not (root / "dev" / name).exists():
                os.mknod(root / "dev" / name, 0o20666, os.makedev(major, minor))
        listed = ("sh", "ls", "cat", "uname", "ps", "kill", "sleep", "env", "nice", "taskset", "id")
        for name in listed:
            if not (root / "bin" / name).exists():
                (root / "bin" / name).symlink_to("busybox")
        temporary = tempfile.gettempdir()
        (root / temporary.lstrip("/")).mkdir(parents=True, exist_ok=True)
        program.write_text(ENTER.format(root=root, temporary=temporary))
        program.chmod(0o755)
    return program


def _copy_wheels(packages: Path) -> None:
    """The wheels of this host, whose processor and Python version are the root's."""
    found = importlib.util.find_spec("numpy")
    if not WHEELS_FIT or found is None or found.origin is None:
        return
    packages.mkdir(parents=True, exist_ok=True)
    for name in WHEELS:
        wheel = Path(found.origin).parents[1] / name
        if wheel.is_dir():
            shutil.copytree(wheel, packages / name, dirs_exist_ok=True)


def python_of(name: str, folder: Path) -> str:
    """The Python of a userland, which is made where it is missing.

    Args:
        folder: where the busybox root lies.
    """
    if name == "busybox":
        return str(build(folder))
    there = machines.find(name)
    if there is None:
        recipe = RECIPES[name]  # type: ignore[index]  # one of USERLANDS
        there = installing.install(installing.installation_plan(recipe), print)
    return there.python


def run(name: str, folder: Path, *more: str) -> int:
    """The agent's tests with that Python; pytest's exit code.

    Args:
        more: words for pytest, after the files.
    """
    environment = {**os.environ, "FARM_TEST_PYTHON": python_of(name, folder)}
    compiler = shutil.which(COMPILERS.get(name, "gcc"))
    if compiler:
        environment["FARM_TEST_CC"] = compiler
    agents = Path(__file__).parent / "agents"
    files = [str(agents / f"test_{each}.py") for each in FILES]
    words = [sys.executable, "-m", "pytest", *files, "-m", "not soak", "--timeout", "300"]
    return subprocess.run([*words, *more], env=environment, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in USERLANDS:
        raise SystemExit(f"usage: python -m tests.userlands {'|'.join(USERLANDS)} [PYTEST WORDS]")
    place = Path(os.environ.get("FARM_USERLANDS", "/tmp/farm-userlands")).resolve()
    raise SystemExit(run(sys.argv[1], place, *sys.argv[2:]))
