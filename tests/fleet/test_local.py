"""This host as a board: what belongs to it alone (the rest is in test_contract)."""

from __future__ import annotations

import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestrator.errors import BoardError, TransientError
from orchestrator.fleet.transport.local import LocalTransport
from tests.fleet.conftest import wait_until
from tests.fleet.test_emulated import DEEP, sleepers


def connected(home: Path) -> LocalTransport:
    transport = LocalTransport("host", home)
    transport.connect(5)
    return transport


@pytest.mark.parametrize("how", ["channel", "transport", "deadline"])
def test_whatever_a_command_started_ends_with_it(tmp_path: Path, how: str) -> None:
    transport = connected(tmp_path)
    if how == "deadline":
        with pytest.raises(TransientError, match="no end after"):
            transport.run(DEEP, timeout_s=0.7)
    else:
        channel = transport.open(DEEP, timeout_s=10)
        assert channel.read(10) == b"go\n"
        assert len(sleepers(tmp_path)) >= 5
        (channel if how == "channel" else transport).close()
    assert wait_until(lambda: not sleepers(tmp_path))
    transport.close()


def test_a_stopped_command_ends_too(tmp_path: Path) -> None:
    transport = connected(tmp_path)
    channel = transport.open("echo go; kill -STOP $$; cat", timeout_s=10)
    assert channel.read(10) == b"go\n"
    time.sleep(0.1)
    assert sleepers(tmp_path)
    transport.close()
    assert not sleepers(tmp_path)
    assert channel.read(10) == b""


def test_no_zombies_and_no_open_files_stay(tmp_path: Path) -> None:
    transport = connected(tmp_path)
    transport.run("true", timeout_s=10)
    files, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for _ in range(8):
        transport.run("echo hi", stdin=b"x", timeout_s=10)
        channel = transport.open("cat", timeout_s=10)
        channel.write(b"x")
        assert channel.read(5) == b"x"
        channel.close()
        del channel

    def settled() -> bool:
        now = len(list(Path("/proc/self/fd").iterdir()))
        return now <= files + 2 and threading.active_count() <= threads + 1

    assert wait_until(settled, 5)
    transport.close()


def test_the_home_is_made_for_this_user_only(tmp_path: Path) -> None:
    connected(tmp_path / "deep" / "home").close()
    assert stat.S_IMODE((tmp_path / "deep" / "home").stat().st_mode) == 0o700


def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BoardError, match=r"host: .* cannot be made"):
        connected(tmp_path / "file" / "home")


def test_python3_is_the_interpreter_of_farm(tmp_path: Path) -> None:
    transport = connected(tmp_path)
    result = transport.run("python3 -c 'import sys; print(sys.prefix)'", timeout_s=20)
    assert result.stdout.decode().strip() == sys.prefix
    transport.close()


def test_the_users_home_is_the_default() -> None:
    assert LocalTransport("host").home == Path.home()
