"""Real SSH servers that `farm boards` finds dressed as boards."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.fleet.emulated.boards import ensure_key
from orchestrator.fleet.transport.known_keys import HostKey
from tests.fleet.dressed import dress
from tests.openssh import SshdAddress, running_sshd

EMPTY = "# Anna's   boards\nboards: []   # none yet\n"
VENV = str(Path(sys.executable).parent)
Farm = Callable[..., tuple[int, str, str]]


@contextmanager
def board_like(
    tmp_path: Path, files: dict[str, bytes], **more: Any
) -> Iterator[tuple[SshdAddress, Path]]:
    """A real SSH server whose probe sees `files`; its address and the key that opens it."""
    key = tmp_path / "key"
    root = dress(tmp_path / "root", files)
    board_home = tmp_path / "board-home"
    board_home.mkdir()
    environment = {
        "FARM_PROBE_ROOT": str(root),
        "HOME": str(board_home),
        "PATH": f"{VENV}:/usr/bin:/bin",
        **more.pop("environment", {}),
    }
    with running_sshd(tmp_path, ensure_key(key), environment=environment, **more) as sshd:
        yield sshd, key


def adding(sshd: SshdAddress, key: Path, *more: str) -> tuple[str, ...]:
    fingerprint = HostKey.parse(sshd.host_key).fingerprint
    target = f"{sshd.user}@{sshd.host}:{sshd.port}"
    return ("add", target, "--key", str(key), "--host-key", fingerprint, "--yes", *more)
