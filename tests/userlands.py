"""A Buildroot-like userland on this host: `python -m tests.userlands FOLDER` prints its Python.

busybox and Debian's Python in a root of their own that is read-only, without `/dev/shm`, with a
tiny `/run` and without Python's `ctypes`, `ssl`, `sqlite3` and `multiprocessing`'s C parts, as
images for RV1126 have it. Needs root (chroot, a mount namespace) and the package mirror.
"""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.fleet.machines import debian

PACKAGES = ("python3", "python3-minimal", "busybox-static")
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
# Runs the Python of {root}, in a mount namespace of its own; /tmp is this host's.
exec unshare -m /bin/sh -c '
mount --make-rprivate / && mount --bind {root} {root} && mount -o remount,ro,bind {root} &&
mount -t tmpfs -o size=64k tmpfs {root}/run && mount --rbind /proc {root}/proc &&
mount --rbind /sys {root}/sys && mount --bind /tmp {root}/tmp &&
exec chroot {root} /bin/sh -c "cd /tmp; exec /usr/bin/python3 \\"\\$@\\"" sh "$@"
' sh "$@"
"""
DEVICES = (("null", 1, 3), ("zero", 1, 5), ("urandom", 1, 9), ("random", 1, 8), ("tty", 5, 0))


def build(folder: Path) -> Path:
    """The root, made once; the program that runs its Python."""
    import os
    import shutil

    root, program = folder / "root", folder / "python3"
    if not program.exists():
        mirror = debian.configured_mirror()
        debian.unpack(debian.fetch(folder / "work", "amd64", "bookworm", mirror, PACKAGES), root)
        for name in ABSENT:
            for path in (root / "usr/lib/python3.11/lib-dynload").glob(name):
                path.unlink()
        shutil.rmtree(root / "usr/lib/python3.11/ctypes")
        for place in ("proc", "sys", "dev", "run", "tmp", "root", "lib64"):
            (root / place).mkdir(exist_ok=True)
        for name, major, minor in DEVICES:
            if not (root / "dev" / name).exists():
                os.mknod(root / "dev" / name, 0o20666, os.makedev(major, minor))
        listed = ("sh", "ls", "cat", "uname", "ps", "kill", "sleep", "env", "nice", "taskset", "id")
        for name in listed:
            if not (root / "bin" / name).exists():
                (root / "bin" / name).symlink_to("busybox")
        program.write_text(ENTER.format(root=root))
        program.chmod(0o755)
    return program


if __name__ == "__main__":
    print(build(Path(sys.argv[1]).resolve()))
