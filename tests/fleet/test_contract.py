"""What every transport must do, proved on each of them."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import BoardError, TransientError
from orchestrator.fleet.boards.deploying import deploy
from orchestrator.fleet.emulated.boards import EmulatedFleet, ensure_key
from orchestrator.fleet.transport.local import LocalTransport
from orchestrator.fleet.transport.ssh import SshTransport
from tests.fleet.conftest import is_alive, transport_to, wait_until
from tests.openssh import SshdAddress, running_sshd
from tests.patience import within


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bool], SshTransport]]:
    """Makes transports to one OpenSSH server with SFTP and one without, started when asked for."""
    folder = tmp_path_factory.mktemp("openssh")
    key = folder / "key"
    line = ensure_key(key)
    with ExitStack() as stack:
        running: dict[bool, SshdAddress] = {}

        def transport(sftp: bool) -> SshTransport:
            if sftp not in running:
                place = folder / str(sftp)
                place.mkdir()
                environment = {"FARM_TEST_DIR": str(place)}
                running[sftp] = stack.enter_context(
                    running_sshd(place, line, sftp=sftp, environment=environment)
                )
            server = running[sftp]
            return SshTransport(
                "openssh",
                server.host,
                port=server.port,
                user=server.user,
                key_file=key,
                host_key=server.host_key,
                use_agent=False,
            )

        yield transport


@pytest.fixture(
    params=["emulated", "local", pytest.param("openssh", marks=pytest.mark.needs("sshd"))]
)
def transport(
    request: pytest.FixtureRequest,
    fleet: EmulatedFleet,
    sshd: Callable[[bool], SshTransport],
    tmp_path: Path,
) -> Iterator[Any]:
    kind, _, without = request.param.partition(" without ")
    made: Any
    if kind == "local":
        made = LocalTransport("host", tmp_path / "home")
    elif kind == "emulated":
        made = transport_to(fleet.start("bare" if without else "rv1126", sftp=not without))
    else:
        made = sshd(not without)
    made.connect(20)
    yield made
    made.close()


with_and_without_sftp = pytest.mark.parametrize(
    "transport",
    [
        "emulated",
        "emulated without sftp",
        "local",
        pytest.param("openssh", marks=pytest.mark.needs("sshd")),
        pytest.param("openssh without sftp", marks=pytest.mark.needs("sshd")),
    ],
    indirect=True,
)


MAKE_FOLDER = 'umask 077; cd "${FARM_TEST_DIR:-.}"; cd "$(mktemp -d ./test.XXXXXX)" && pwd -P'


def blob(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def test_run_gives_status_and_both_streams(transport: Any) -> None:
    result = transport.run("echo out; echo err >&2; exit 7", timeout_s=20)
    assert (result.status, result.stdout, result.stderr) == (7, b"out\n", b"err\n")


def test_run_hands_over_stdin_and_its_end(transport: Any) -> None:
    data = blob(300_000)
    assert transport.run("cat", stdin=data, timeout_s=20).stdout == data


def test_run_of_a_command_that_ignores_a_large_stdin(transport: Any) -> None:
    result = transport.run("exec <&-; echo done", stdin=bytes(8 << 20), timeout_s=20)
    assert (result.status, result.stdout) == (0, b"done\n")


def test_run_keeps_at_most_one_mebibyte_of_each_stream(transport: Any) -> None:
    command = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"
    result = transport.run(command, timeout_s=30)
    assert result.status == 0
    assert (len(result.stdout), len(result.stderr)) == (1 << 20, 1 << 20)


def test_run_of_a_command_ended_by_a_signal(transport: Any) -> None:
    assert transport.run("kill -9 $$", timeout_s=20).status == -1


def test_run_has_a_deadline(transport: Any) -> None:
    with within(2.5), pytest.raises(TransientError, match=r"no end after 0\.3 s"):
        transport.run("sleep 300", timeout_s=0.3)


def test_run_has_a_deadline_for_a_command_that_will_not_read(transport: Any) -> None:
    with pytest.raises(TransientError, match=r"no end after 0\.3 s"):
        transport.run("sleep 30", stdin=bytes(20 << 20), timeout_s=0.3)


def test_channel_carries_both_ways_at_once(transport: Any) -> None:
    channel = transport.open("cat", timeout_s=20)
    block, count = blob(1 << 20), 50
    sent = hashlib.sha256()

    def write() -> None:
        for _ in range(count):
            sent.update(block)
            channel.write(memoryview(block))
        channel.close_stdin()

    writer = threading.Thread(target=write)
    writer.start()
    came, size = hashlib.sha256(), 0
    while data := channel.read(1 << 20):
        came.update(data)
        size += len(data)
    writer.join()
    assert size == count << 20
    assert came.digest() == sent.digest()
    assert channel.exit_status(10) == 0
    assert channel.read(10) == b""


def test_read_gives_what_is_there_without_waiting_for_more(transport: Any) -> None:
    channel = transport.open("echo first; cat", timeout_s=20)
    assert channel.read(1 << 20) == b"first\n"
    channel.write(b"second\n")
    assert channel.read(1 << 20) == b"second\n"
    channel.close()


def test_closing_ends_a_blocked_read_and_the_command(transport: Any) -> None:
    channel = transport.open("echo $$; exec cat", timeout_s=20)
    pid = int(channel.read(100))
    assert is_alive(pid)
    answers: list[bytes] = []
    reader = threading.Thread(target=lambda: answers.append(channel.read(10)))
    reader.start()
    time.sleep(0.1)
    channel.close()
    reader.join(5)
    assert answers == [b""]
    assert wait_until(lambda: not is_alive(pid))


def test_closing_ends_a_blocked_write(transport: Any) -> None:
    channel = transport.open("sleep 20", timeout_s=20)
    seen: list[BaseException] = []

    def write() -> None:
        try:
            channel.write(bytes(30 << 20))
        except TransientError as error:
            seen.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.2)
    assert writer.is_alive()
    channel.close()
    writer.join(5)
    assert len(seen) == 1


def test_writing_to_a_command_that_ended_is_told(transport: Any) -> None:
    channel = transport.open("exit 3", timeout_s=20)
    assert channel.read(10) == b""
    assert channel.exit_status(10) == 3

    def keep_writing() -> None:
        for _ in range(100):
            channel.write(bytes(1 << 16))
            time.sleep(0.01)

    with pytest.raises(TransientError):
        keep_writing()


def test_exit_status_of_a_running_command_is_none(transport: Any) -> None:
    channel = transport.open("exec cat", timeout_s=20)
    assert channel.exit_status(0.1) is None
    channel.close()


def test_stderr_is_bounded_and_made_harmless(transport: Any) -> None:
    command = (
        "head -c 9000000 /dev/zero | tr '\\0' x >&2; "
        "printf '\\033]0;title\\007\\033[31mred\\033[0m\\a\\n' >&2; exec cat"
    )
    channel = transport.open(command, timeout_s=20)
    channel.write(b"alive")
    assert channel.read(10) == b"alive"  # nine megabytes of stderr have not stopped it
    assert wait_until(lambda: channel.stderr_tail().endswith("xred"))
    assert len(channel.stderr_tail()) <= 8192
    channel.close()


@with_and_without_sftp
def test_put_writes_content_and_mode(transport: Any, tmp_path: Path) -> None:
    data = blob(3_000_001)
    told: list[int] = []
    folder = where(transport)
    transport.put(data, f"{folder}/a file's name", mode=0o640, timeout_s=20, progress=told.append)
    command = f"""cd {folder}; sha256sum < "a file's name"; stat -c %a "a file's name" """
    found = transport.run(command, timeout_s=20)
    digest, mode = found.stdout.split()[0], found.stdout.split()[-1]
    assert digest.decode() == hashlib.sha256(data).hexdigest()
    assert mode == b"640"
    assert told == sorted(told)
    assert told[-1] == len(data)


@with_and_without_sftp
def test_put_of_nothing_is_an_empty_file(transport: Any) -> None:
    folder = where(transport)
    transport.put(b"", f"{folder}/empty", mode=0o600, timeout_s=20)
    assert transport.run(f"cat {folder}/empty | wc -c", timeout_s=20).stdout.split() == [b"0"]


@with_and_without_sftp
def test_put_where_nobody_can_write_is_the_boards_fault(transport: Any) -> None:
    folder = where(transport)
    with pytest.raises(BoardError, match="missing/file"):
        transport.put(b"x", f"{folder}/missing/file", mode=0o600, timeout_s=20)
    assert transport.run("echo still here", timeout_s=20).stdout == b"still here\n"


@with_and_without_sftp
def test_deploys_once(transport: Any, request: pytest.FixtureRequest) -> None:
    data = blob(1_000_000)
    digest = hashlib.sha256(data).hexdigest()
    folder = where(transport) + "/new/place"

    def bring() -> Any:
        return deploy(transport, data, remote_dir=folder, name="m.bin", sha256=digest, timeout_s=30)

    first, second = bring(), bring()
    if isinstance(transport, SshTransport):
        assert transport.has_sftp is ("without sftp" not in request.node.name)
    assert (first.skipped, second.skipped) == (False, True)
    assert first.path == second.path == f"{folder}/m.bin"
    assert transport.run(f"ls {folder}", timeout_s=20).stdout == b"m.bin\n"


def test_many_threads_share_a_connection(transport: Any) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            for turn in range(2):
                text = f"{number}-{turn}".encode()
                if transport.run("cat", stdin=text, timeout_s=30).stdout != text:
                    wrong.append(text)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_transport_says_so_and_connects_again(transport: Any) -> None:
    channel = transport.open("echo $$; exec cat", timeout_s=20)
    pid = int(channel.read(100))
    transport.close()
    transport.close()
    assert wait_until(lambda: not is_alive(pid))
    with pytest.raises(TransientError, match="not connected"):
        transport.run("true", timeout_s=5)
    transport.connect(20)
    assert transport.run("true", timeout_s=20).status == 0


def where(transport: Any) -> str:
    """A fresh folder that this transport's commands and uploads both reach by the same path."""
    result = transport.run(MAKE_FOLDER, timeout_s=20)
    assert result.status == 0
    return result.stdout.decode().strip()
