"""Bad links and bad peers: every call ends by its deadline, with a word on what happened."""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import paramiko
import pytest

from orchestrator.errors import BoardError, TransientError, UserError
from orchestrator.fleet.emulated.boards import EmulatedAddress
from orchestrator.fleet.transport import ssh_connection
from orchestrator.fleet.transport.deadline import Expired
from orchestrator.fleet.transport.ssh import SshTransport
from orchestrator.fleet.transport.ssh_errors import as_farm_errors
from tests.faulty_proxy import Relay, Weather
from tests.fleet.conftest import transport_to, wait_until
from tests.fleet.peers import server
from tests.patience import within


@pytest.fixture
def relay(address: EmulatedAddress) -> Iterator[Relay]:
    with Relay((address.host, address.port)) as made:
        yield made


@pytest.fixture
def far_board(address: EmulatedAddress, relay: Relay) -> Iterator[SshTransport]:
    transport = transport_to(address, port=relay.port)
    transport.connect(20)
    yield transport
    transport.close()


def stay_silent(sock: socket.socket) -> None:
    while sock.recv(4096):
        pass


def never_end_the_line(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"\x1b[31mX" * 20)
        time.sleep(0.01)


def speak_http(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 200)
    sock.close()


def hang_up(sock: socket.socket) -> None:
    sock.close()


def greet_and_stay_silent(sock: socket.socket) -> None:
    sock.sendall(b"SSH-2.0-hostile\r\n")
    stay_silent(sock)


def greet_and_rave(sock: socket.socket) -> None:
    sock.sendall(b"SSH-2.0-\x1b[2J\x1b]0;owned\x07hostile\r\n")
    while True:
        sock.sendall(bytes(range(256)) * 64)


@pytest.mark.parametrize(
    "behave",
    [stay_silent, never_end_the_line, speak_http, hang_up, greet_and_stay_silent, greet_and_rave],
)
def test_a_peer_that_does_not_speak_ssh(behave: Any) -> None:
    with server(behave) as port:
        transport = SshTransport("odd", "127.0.0.1", port=port, user="x", use_agent=False)
        with within(6), pytest.raises(TransientError, match=r"^odd: ") as seen:
            transport.connect(0.6)
    assert all(c.isprintable() or c == "\n" for c in str(seen.value))
    assert len(str(seen.value)) < 700


def test_a_port_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(TransientError, match="connection refused"):
        SshTransport("b", "127.0.0.1", port=port, user="x").connect(5)


def test_a_host_name_that_nobody_has() -> None:
    with pytest.raises((UserError, TransientError), match="host name"):
        SshTransport("b", "no-such-host.invalid", user="x").connect(5)


def test_connecting_through_a_dead_link_has_a_deadline(
    address: EmulatedAddress, relay: Relay
) -> None:
    relay.weather.stalled = True
    transport = transport_to(address, port=relay.port)
    with within(5), pytest.raises(Expired):
        transport.connect(0.4)


@pytest.mark.parametrize("call", ["run", "open", "put", "put by cat"])
def test_a_link_that_dies_in_silence_ends_calls_at_their_deadline(
    far_board: SshTransport, relay: Relay, call: str
) -> None:
    far_board.has_sftp = call == "put"
    relay.weather.stalled = True
    calls: dict[str, Callable[[], Any]] = {
        "run": lambda: far_board.run("echo hi", timeout_s=0.4),
        "open": lambda: far_board.open("echo hi", timeout_s=0.4),
        "put": lambda: far_board.put(bytes(40 << 20), "never-there", mode=0o600, timeout_s=0.4),
    }
    with within(5), pytest.raises(Expired, match="rv1126"):
        calls[call.removesuffix(" by cat")]()


@pytest.mark.parametrize("also_run", [False, True])
def test_a_dead_link_full_of_data_gives_control_back(
    far_board: SshTransport, relay: Relay, also_run: bool
) -> None:
    channel = far_board.open("cat >/dev/null", timeout_s=10)
    relay.weather.stalled = True
    writer = threading.Thread(target=lambda: _ignore(channel.write, bytes(60 << 20)))
    writer.start()
    time.sleep(0.3)
    assert writer.is_alive()
    if also_run:  # not even its request gets into the full socket
        with within(3), pytest.raises(TransientError):
            far_board.run("true", timeout_s=0.4)
    with within(3):
        channel.close()
        far_board.close()
    writer.join(10)
    assert not writer.is_alive()


def _ignore(act: Any, *arguments: Any) -> None:
    try:
        act(*arguments)
    except TransientError:
        return


def test_a_cut_link_is_an_error_and_never_an_end(far_board: SshTransport, relay: Relay) -> None:
    channel = far_board.open("echo first; cat", timeout_s=10)
    assert channel.read(100) == b"first\n"
    relay.cut()
    with pytest.raises(TransientError, match="connection was lost"):
        channel.read(100)
    with pytest.raises(TransientError):
        channel.write(b"x")
    with pytest.raises(TransientError):
        far_board.run("true", timeout_s=5)
    far_board.connect(10)
    assert far_board.run("echo back", timeout_s=10).stdout == b"back\n"


def test_a_link_cut_while_a_command_runs_is_an_error(far_board: SshTransport, relay: Relay) -> None:
    threading.Timer(0.15, relay.cut).start()
    with within(5), pytest.raises(TransientError):
        far_board.run("echo partial; sleep 20", timeout_s=15)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_flipped_bit_never_gets_through(
    far_board: SshTransport, relay: Relay, direction: str
) -> None:
    channel = far_board.open("cat", timeout_s=10)
    relay.corrupt(direction)
    came = bytearray()

    def talk() -> None:
        channel.write(b"a" * 50_000)
        while len(came) < 50_000:
            came.extend(channel.read(1 << 16))

    with within(8), pytest.raises(TransientError):
        talk()
    assert set(came) <= {ord("a")}


def test_a_slow_and_distant_link_carries_everything(far_board: SshTransport, relay: Relay) -> None:
    relay.weather = Weather(delay_s=0.02, bytes_per_s=8e6)
    data = bytes(range(256)) * 8000
    started = time.monotonic()
    far_board.put(data, "slow", mode=0o600, timeout_s=30)
    assert time.monotonic() - started > 0.2
    answer = far_board.run("sha256sum < slow", timeout_s=20).stdout.split()[0].decode()
    assert answer == hashlib.sha256(data).hexdigest()


@pytest.fixture
def impatient_board(
    address: EmulatedAddress, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SshTransport]:
    """A board whose keys we renew every three megabytes instead of every 512."""
    monkeypatch.setattr(paramiko.packet.Packetizer, "REKEY_BYTES", 3_000_000)
    transport = transport_to(address)
    transport.connect(20)
    yield transport
    transport.close()


def test_keys_are_renewed_in_the_middle_of_a_stream(impatient_board: SshTransport) -> None:
    channel = impatient_board.open("cat", timeout_s=20)
    before = impatient_board._connection.H
    block = bytes(1 << 20)

    def write() -> None:
        for _ in range(30):
            channel.write(block)
        channel.close_stdin()

    threading.Thread(target=write).start()
    size = 0
    while data := channel.read(1 << 20):
        size += len(data)
    assert size == 30 << 20
    after = impatient_board._connection.H
    assert after != before
    assert channel.exit_status(5) == 0


def test_keys_are_renewed_while_channels_close(impatient_board: SshTransport) -> None:
    # The board's close arrives between our wish for new keys and the board's answer to it: there
    # paramiko alone waits for itself, about every second time here.
    with within(20):
        for _ in range(12):
            result = impatient_board.run("head -c 3000000 /dev/zero", timeout_s=10)
            assert len(result.stdout) == 1 << 20


def test_a_channel_too_many_is_told() -> None:
    refusal = paramiko.ChannelException(2, "Connect failed\x1b[31m")
    with pytest.raises(TransientError, match="refused a new channel") as seen:
        with as_farm_errors("b", "testing"):
            raise refusal
    assert "\x1b" not in str(seen.value)
    assert "MaxSessions" in seen.value.hint


def test_a_board_that_ignores_our_window_is_dropped(
    board: SshTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    # We grant it a window that it may use, and then believe that we granted less.
    monkeypatch.setattr(ssh_connection, "WINDOW", 1 << 19)
    channel = board.open("head -c 2000000 /dev/zero; cat", timeout_s=10)
    assert wait_until(lambda: not board._connection.is_active())
    size = 0

    def read_all() -> None:
        nonlocal size
        while data := channel.read(1 << 16):
            size += len(data)

    with pytest.raises(TransientError, match="connection was lost"):
        read_all()
    assert size < 1_300_000


def test_paramiko_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("paramiko.transport")
    with server(speak_http) as port:
        with pytest.raises(TransientError):
            SshTransport("b", "127.0.0.1", port=port, user="x", use_agent=False).connect(2)
    logger.error("a word of paramiko's")
    assert capfd.readouterr() == ("", "")


def test_a_board_whose_shell_is_noisy_at_sftp_gets_its_file_by_cat(
    board: SshTransport, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = paramiko.SFTPClient._send_version

    def garbage(client: Any) -> Any:
        original(client)
        raise paramiko.SFTPError("Incompatible sftp protocol")

    monkeypatch.setattr(paramiko.SFTPClient, "_send_version", garbage)
    board.put(b"by cat", "noisy", mode=0o600, timeout_s=10)
    assert (home / "noisy").read_bytes() == b"by cat"
    assert not board.has_sftp


def test_a_full_board_is_the_boards_fault(board: SshTransport) -> None:
    board.has_sftp = False
    with pytest.raises(BoardError, match="No space left"):
        board.put(bytes(1 << 20), "/dev/full", mode=0o666, timeout_s=10)
