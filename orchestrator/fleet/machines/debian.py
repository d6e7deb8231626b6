"""Debian packages of another processor, fetched and unpacked without root and without installing.

apt works in a folder of its own, with its own list of packages: this host's is neither read for
what is installed nor changed. Its settings (a proxy, say) count, and so do its signatures' keys.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import TransientError, UserError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOURCES = Path("/etc/apt")
PUBLIC = "http://deb.debian.org/debian"
_APT_S = 900.0
_MIRROR = re.compile(r"https?://[^\s\]]+/debian/?(?=\s|$)")


def configured_mirror(sources: Path = SOURCES) -> str:
    """The mirror that this host's apt uses for Debian; the public one where it has none."""
    files = [sources / "sources.list", *sorted((sources / "sources.list.d").glob("*"))]
    for file in files:
        if file.suffix not in (".list", ".sources") or not file.is_file():
            continue
        for line in file.read_text("utf-8", "replace").splitlines():
            found = _MIRROR.search(line.partition("#")[0])
            if found:
                return found.group().rstrip("/")
    return PUBLIC


def require_tools() -> None:
    """Refuse a host that cannot fetch and check Debian's packages.

    Raises:
        UserError: a program or the keys of Debian's archive are missing.
    """
    missing = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        raise UserError(
            f"a machine is made of Debian's packages, which {' and '.join(missing)} of this host "
            "would fetch and unpack, and there is no such program",
            "run farm on Debian or Ubuntu, or copy the folder of machines from such a host "
            "to the same path",
        )
    if not KEYRING.exists():
        raise UserError(
            f"there is no {KEYRING}, with which Debian's packages are checked",
            "apt-get install debian-archive-keyring",
        )


def fetch(
    work: Path, architecture: str, suite: str, mirror: str, packages: Sequence[str]
) -> list[Path]:
    """Packages and what they depend on, checked by their signatures.

    Args:
        work: apt's own folder.
        architecture: Debian's name of the processor.

    Raises:
        TransientError: the mirror is not reached, or has not all of them.
    """
    for part in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
        (work / part).mkdir(parents=True, exist_ok=True)
    (work / "status").write_text("")
    (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n")
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Install-Recommends": "0",
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "1",
        "Dir::Etc": str(work / "etc"),
        "Dir::Etc::sourcelist": str(work / "sources.list"),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": str(work / "state"),
        "Dir::State::status": str(work / "status"),
        "Dir::Cache": str(work / "cache"),
    }
    options = [
        word for key, value in settings.items() if value for word in ("-o", f"{key}={value}")
    ]
    _apt(["apt-get", "-q", *options, "update"], mirror)
    _apt(["apt-get", "-q", "-y", *options, "--download-only", "install", *packages], mirror)
    return sorted((work / "cache/archives").glob("*.deb"))


def fetch_own(work: Path, package: str) -> Path:
    """A package for this host's own processor, out of its own lists.

    Raises:
        TransientError: it is not to be had.
    """
    work.mkdir(parents=True, exist_ok=True)
    _apt(["apt-get", "-q", "download", package], "this host's mirror", folder=work)
    return next(iter(sorted(work.glob(f"{package}_*.deb"))))


def unpack(packages: Sequence[Path], root: Path) -> None:
    """Put the files of packages below `root`; no script of theirs is run.

    Raises:
        TransientError: a package cannot be read, or there is no room.
    """
    root.mkdir(parents=True, exist_ok=True)
    for package in packages:
        _run(["dpkg-deb", "-x", str(package), str(root)])
    # Since trixie packages have files below /usr alone; these links are base-files'.
    for name in ("bin", "sbin", "lib"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")


def _apt(words: list[str], mirror: str, folder: Path | None = None) -> None:
    try:
        _run(words, folder)
    except TransientError as error:
        raise TransientError(
            f"{error.message} (packages of {mirror})",
            "is the mirror reachable? --mirror URL names another",
        ) from error


def _run(words: list[str], folder: Path | None = None) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        ended = subprocess.run(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_APT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TransientError(f"{words[0]}: {error}") from error
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line.startswith(("E:", "W:"))]
        last = " ".join(lines[-3:]) or ended.stderr[-300:] or ended.stdout[-300:]
        raise TransientError(f"{words[0]} failed with exit code {ended.returncode}: {last.strip()}")
