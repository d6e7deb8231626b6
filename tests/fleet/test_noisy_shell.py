"""What a login shell prints never matters: real OpenSSH, every shell, noise on all sides."""

from __future__ import annotations

import hashlib
import os
import random
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.errors import BoardError, TransientError
from orchestrator.fleet.boards.deploying import check_python, deploy, remote_sha256
from orchestrator.fleet.emulated.boards import ensure_key
from orchestrator.fleet.transport.commands import workdir_on
from orchestrator.fleet.transport.ssh import SshTransport
from tests.dropbear import running_dropbear
from tests.fleet.conftest import wait_until
from tests.fleet.noisy import (
    GOODBYE,
    WELCOME,
    connected,
    dress_shell,
    every_shell,
    noisy_board,
)
from tests.fleet.test_marks import NASTY
from tests.openssh import running_sshd

pytestmark = pytest.mark.needs("sshd")
DATA = random.Random(1).randbytes(700_000)
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def board(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., tuple[SshTransport, Path]]]:
    """Connections to boards of noisy shells, each server started once."""
    with ExitStack() as stack:
        made: dict[object, tuple[SshTransport, Path]] = {}

        def get(shell: str, between: float = 0.0) -> tuple[SshTransport, Path]:
            if (shell, between) not in made:
                folder = tmp_path_factory.mktemp("noisy")
                noise = {"before": WELCOME, "after": GOODBYE, "between": between}
                server, key, home = stack.enter_context(noisy_board(folder, shell, **noise))
                made[shell, between] = stack.enter_context(connected(server, key)), home
            return made[shell, between]

        yield get


@every_shell
def test_answers_are_exact(shell: str, board: Callable[..., tuple[SshTransport, Path]]) -> None:
    transport, home = board(shell)
    command = f"printf %s {shlex.quote(NASTY)}; cat; echo err >&2; exit 7"
    result = transport.run(command, stdin=DATA, timeout_s=20)
    assert (result.status, result.stderr) == (7, b"err\n")
    assert result.stdout == NASTY.encode() + DATA
    assert transport.run("true", timeout_s=20).stdout == b""
    assert workdir_on(transport, "~/.farm", board="b", timeout_s=20) == f"{home}/.farm"
    assert transport.run("kill -9 $$", timeout_s=20).status == -1
    assert "Welcome to rock-5b" in transport.noise
    large = transport.run("head -c 3000000 /dev/zero", timeout_s=20)
    assert large.stdout == bytes(1 << 20)


@every_shell
def test_a_channel_begins_with_what_the_command_says(
    shell: str, board: Callable[..., tuple[SshTransport, Path]]
) -> None:
    channel = board(shell)[0].open("echo first; echo err >&2; exec cat", timeout_s=20)
    assert channel.read(100) == b"first\n"
    channel.write(DATA[:1000])
    assert channel.read(1 << 18) == DATA[:1000]
    # It comes on a stream of its own, now or later.
    assert wait_until(lambda: channel.stderr_tail() == "err", 30)
    channel.close()


@every_shell
def test_files_go_over_exec_where_sftp_is_spoiled(
    shell: str, board: Callable[..., tuple[SshTransport, Path]]
) -> None:
    transport, home = board(shell)
    told: list[int] = []

    def bring() -> bool:
        return deploy(
            *(transport, DATA),
            remote_dir="~/.farm",
            name="m",
            sha256=DIGEST,
            timeout_s=30,  # type: ignore[arg-type]
            progress=told.append,
        ).skipped

    assert (bring(), bring()) == (False, True)
    assert (home / ".farm" / "m").read_bytes() == DATA
    assert not transport.has_sftp
    assert told == sorted(told)
    assert told[-1] == len(DATA)
    with pytest.raises(BoardError, match="No space left"):
        transport.put(bytes(1 << 20), "/dev/full", mode=0o666, timeout_s=10)


def test_something_in_the_background_that_prints_on_is_no_answer(
    board: Callable[..., tuple[SshTransport, Path]],
) -> None:
    transport, home = board("sh", 0.02)
    started = time.monotonic()
    assert workdir_on(transport, "~/.farm", board="b", timeout_s=20) == f"{home}/.farm"
    assert check_python(transport, "python3", 20).startswith("3.")
    place = deploy(
        transport, DATA, remote_dir="~/x", name="m", sha256=DIGEST, mode=0o640, timeout_s=30
    )
    assert (home / place.path).read_bytes() == DATA
    # The printer holds the channel for ever; the answer is complete all the same.
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("how", ["run", "open"])
@pytest.mark.parametrize(
    ("forced", "says"),
    [
        (
            "echo This account is currently not available.; exit 1",
            "status 1 and says 'This account",
        ),
        ("echo 'no entry for you' >&2; exit 3", "status 3 and says 'no entry for you'"),
        ("exit 0", "status 0 and says nothing"),
        ("yes garbage | head -c 5000", r"says 'garbage garbage.*…' \(5000 bytes"),
    ],
)
def test_a_shell_that_runs_no_command_is_told(
    tmp_path: Path, forced: str, says: str, how: str
) -> None:
    key = tmp_path / "key"
    with (
        running_sshd(tmp_path, ensure_key(key), settings=f"ForceCommand {forced}") as server,
        connected(server, key) as transport,
    ):
        calls = {
            "run": lambda: transport.run("echo hi", timeout_s=20),
            "open": lambda: transport.open("exec cat", timeout_s=20).read(100),
        }
        with pytest.raises(BoardError, match=says) as seen:
            calls[how]()
    assert "nologin" in seen.value.hint
    assert len(seen.value.message) < 200


def test_a_slow_login_shell_costs_time_and_a_deadline_says_so(tmp_path: Path) -> None:
    with (
        noisy_board(tmp_path, "sh", before=WELCOME, slow=1.5) as (server, key, _),
        connected(server, key) as transport,
    ):
        assert transport.run("cat", stdin=DATA, timeout_s=20).stdout == DATA
        channel = transport.open("exec cat", timeout_s=20)
        channel.write(b"early")
        assert channel.read(100) == b"early"
        channel.close()
        with pytest.raises(TransientError, match=r"no end after 0\.5 s while running `true`"):
            transport.run("true", timeout_s=0.5)


@pytest.mark.needs("dropbear", "dropbearkey", "unshare")
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a read-only root, which takes root")
@pytest.mark.parametrize("between", [0.0, 0.05])
def test_dropbear_with_a_shell_that_prints(tmp_path: Path, between: float) -> None:
    home = tmp_path / "home"
    home.mkdir()
    login = dress_shell(home, "ash", before=WELCOME, after=GOODBYE, between=between)
    key = tmp_path / "key"
    with (
        running_dropbear(tmp_path, ensure_key(key), login) as (server, data),
        connected(server, key) as transport,
    ):
        result = transport.run("cat; echo err >&2; exit 7", stdin=b"in", timeout_s=20)
        assert result.status == 7
        if not between:
            assert (result.stdout, result.stderr) == (b"in", b"err\n")
        assert check_python(transport, sys.executable, 20).startswith("3.")
        place = f"{data}/farm"
        deploy(transport, DATA, remote_dir=place, name="m", sha256=DIGEST, timeout_s=30)
        assert remote_sha256(transport, f"{place}/m", timeout_s=20) == DIGEST
        assert not transport.has_sftp
