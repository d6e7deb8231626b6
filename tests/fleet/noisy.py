"""Login shells as users' accounts have them: each reads commands its own way, and all print."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.fleet.emulated.boards import ensure_key
from orchestrator.fleet.transport.ssh import SshTransport
from tests.openssh import SshdAddress, running_sshd

# Run by the user's shell as the login shell's own would be, unlike `internal-sftp`.
SFTP_SERVER = next(
    (
        path
        for path in (
            "/usr/lib/openssh/sftp-server",
            "/usr/lib/sftp-server",
            "/usr/lib/ssh/sftp-server",
            "/usr/libexec/openssh/sftp-server",
            "/usr/libexec/sftp-server",
        )
        if Path(path).exists()
    ),
    "internal-sftp",
)
SHELLS = {
    "sh": ["/bin/sh"],
    "bash": ["bash"],
    "fish": ["fish"],
    "tcsh": ["tcsh"],
    "ash": ["busybox", "ash"],
}
every_shell = pytest.mark.parametrize(
    "shell", [pytest.param(name, marks=pytest.mark.needs(SHELLS[name][0])) for name in SHELLS]
)
# What people's start-up files print, with what a test must not take for an answer.
WELCOME = (
    f"=== Welcome to rock-5b ===\nfarm-home:/wrong\nfarm:model=wrong\nfarm-sha256:\n{'0' * 64}\n"
)
GOODBYE = "\nBye! farm-home:/wrong\n"
LOCALE = "bash: warning: setlocale: LC_ALL: cannot change locale (zh_CN.UTF-8)\n"


def dress_shell(
    folder: Path,
    shell: str,
    *,
    before: str = "",
    after: str = "",
    between: float = 0.0,
    slow: float = 0.0,
) -> Path:
    """A program that gives every command to `shell`, as an SSH server itself does.

    Args:
        folder: becomes the home where commands start, with the shell's own start-up files.
        before, after: printed by start-up files and at the end.
        between: seconds between two words that something in the background prints; 0 for none.
        slow: seconds that the start-up files take.
    """
    for name in ("welcome", "locale", "goodbye"):
        text = {"welcome": before, "locale": LOCALE if before else "", "goodbye": after}[name]
        (folder / name).write_text(text)
    say = f"cat {folder}/welcome; cat {folder}/locale >&2"
    for name in (".bashrc", ".tcshrc", ".config/fish/config.fish"):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        said = f"cat {folder}/welcome; sh -c 'cat {folder}/locale >&2'\n"
        place.write_text(said)
    ticks = f"(while :; do echo tick; echo tock >&2; sleep {between:g}; done) &" if between else ""
    program = folder / "login"
    program.write_text(
        "#!/bin/sh\n"
        f"{say if shell in ('sh', 'ash') else ''}\n"
        f"{ticks}\n"
        # bash reads its start-up file only where sshd itself has started it.
        f"unset SHLVL; cd {folder}; sleep {slow:g}\n"
        f'{shlex.join(SHELLS[shell])} -c "$SSH_ORIGINAL_COMMAND"\n'
        f"status=$?\ncat {folder}/goodbye {folder}/goodbye >&2; cat {folder}/goodbye\n"
        "exit $status\n"
    )
    program.chmod(0o755)
    return program


@contextmanager
def noisy_board(
    tmp_path: Path, shell: str = "bash", *, environment: dict[str, str] | None = None, **noise: Any
) -> Iterator[tuple[SshdAddress, Path, Path]]:
    """OpenSSH's server with such a shell: its address, the key that opens it and the home."""
    home = tmp_path / "noisy-home"
    home.mkdir()
    key = tmp_path / "key"
    login = dress_shell(home, shell, **noise)
    settings = f"ForceCommand exec {login}\nSubsystem sftp {SFTP_SERVER}"
    variables = {"HOME": str(home), "FARM_TEST_DIR": str(home), **(environment or {})}
    with running_sshd(
        tmp_path, ensure_key(key), sftp=False, environment=variables, settings=settings
    ) as server:
        yield server, key, home


@contextmanager
def connected(server: SshdAddress, key: Path) -> Iterator[SshTransport]:
    """A connection to it."""
    transport = SshTransport(
        "noisy",
        server.host,
        port=server.port,
        user=server.user,
        key_file=key,
        host_key=server.host_key,
        use_agent=False,
    )
    transport.connect(20)
    try:
        yield transport
    finally:
        transport.close()
