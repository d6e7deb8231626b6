"""Emulated boards: who is let in, what they run, and that nothing of them outlives its owner."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import paramiko
import pytest

from orchestrator.errors import TransientError, UserError
from orchestrator.fleet.emulated import boards as emulated
from orchestrator.fleet.emulated.boards import EmulatedAddress, EmulatedFleet, ensure_key
from orchestrator.fleet.transport.ssh import SshTransport
from tests.fleet.conftest import is_alive, transport_to, wait_until


def knock(address: EmulatedAddress) -> Any:
    connection = paramiko.Transport((address.host, address.port))
    connection.start_client(timeout=10)
    return connection


def test_no_authentication_is_refused(address: EmulatedAddress) -> None:
    connection = knock(address)
    with pytest.raises(paramiko.BadAuthenticationType) as seen:
        connection.auth_none(address.user)
    assert seen.value.allowed_types == ["publickey"]
    assert not connection.is_authenticated()
    connection.close()


@pytest.mark.parametrize("password", ["", "farm", "root"])
def test_passwords_are_refused(address: EmulatedAddress, password: str) -> None:
    connection = knock(address)
    with pytest.raises(paramiko.BadAuthenticationType):
        connection.auth_password(address.user, password, fallback=False)
    assert not connection.is_authenticated()
    connection.close()


def test_another_key_is_refused(address: EmulatedAddress, tmp_path: Path) -> None:
    ensure_key(tmp_path / "other")
    transport = transport_to(address, key_file=tmp_path / "other")
    with pytest.raises(UserError, match="refused our key"):
        transport.connect(10)


def test_the_hosts_own_key_is_refused(fleet: EmulatedFleet, address: EmulatedAddress) -> None:
    transport = transport_to(address, key_file=fleet.state_dir / "rv1126" / "host_key")
    with pytest.raises(UserError, match="refused our key"):
        transport.connect(10)


def test_another_user_is_refused(address: EmulatedAddress) -> None:
    with pytest.raises(UserError, match="root@127"):
        transport_to(address, user="root").connect(10)


def test_nothing_opens_before_the_login(address: EmulatedAddress) -> None:
    connection = knock(address)
    with pytest.raises(paramiko.SSHException):
        connection.open_session(timeout=5)
    connection.close()


def test_the_right_key_gets_commands_but_no_forwarding_and_no_shell(
    address: EmulatedAddress,
) -> None:
    connection = knock(address)
    connection.auth_publickey(address.user, paramiko.PKey.from_path(address.key_file))
    with pytest.raises(paramiko.ChannelException):
        connection.open_channel(
            "direct-tcpip", ("127.0.0.1", address.port), ("127.0.0.1", 1), timeout=5
        )
    with pytest.raises(paramiko.SSHException):
        connection.request_port_forward("127.0.0.1", 0)
    with pytest.raises(paramiko.SSHException):
        connection.open_session(timeout=5).invoke_shell()
    connection.close()


def test_listens_on_the_loopback_only(address: EmulatedAddress) -> None:
    tables = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    listening = [row[1] for row in tables if row[3] == "0A"]
    ours = [place for place in listening if place.endswith(f":{address.port:04X}")]
    assert ours == [f"0100007F:{address.port:04X}"]


def test_keys_are_private_and_stay(fleet: EmulatedFleet, address: EmulatedAddress) -> None:
    for name in ("client_key", "rv1126/host_key"):
        info = (fleet.state_dir / name).stat()
        assert stat.S_IMODE(info.st_mode) == 0o600
        assert info.st_nlink == 1
    assert stat.S_IMODE((fleet.state_dir / "rv1126").stat().st_mode) == 0o700
    with EmulatedFleet(fleet.state_dir) as again:
        assert again.start("rv1126").host_key == address.host_key


def test_one_board_one_server_one_host_key(fleet: EmulatedFleet, address: EmulatedAddress) -> None:
    assert fleet.start("rv1126") == address
    other = fleet.start("imx8mp")
    assert other.port != address.port
    assert other.host_key != address.host_key
    assert other.key_file == address.key_file


def test_starts_from_several_threads(tmp_path: Path) -> None:
    found: list[EmulatedAddress] = []
    with EmulatedFleet(tmp_path) as fleet:
        names = ["a", "b"] * 3
        threads = [
            threading.Thread(target=lambda name=name: found.append(fleet.start(name)))
            for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == len(names)
        assert len({place.port for place in found}) == 2
        assert len({place.host_key for place in found}) == 2


def test_two_processes_that_make_a_key_get_the_same(tmp_path: Path) -> None:
    lines: list[str] = []
    threads = [
        threading.Thread(target=lambda: lines.append(ensure_key(tmp_path / "deep" / "key")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines) == 8
    assert len(set(lines)) == 1
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["key"]


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "x" * 100, "-home"])
def test_a_name_that_is_no_folders_name_is_refused(tmp_path: Path, name: str) -> None:
    with EmulatedFleet(tmp_path) as fleet:
        with pytest.raises(UserError, match="emulated board"):
            fleet.start(name)


def test_commands_see_a_board_and_not_this_host(
    board: SshTransport, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = board.run("env; pwd", timeout_s=20)
    names = {line.split("=")[0] for line in result.stdout.decode().splitlines() if "=" in line}
    assert names <= {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}
    assert f"HOME={home}".encode() in result.stdout
    assert result.stdout.decode().splitlines()[-1] == str(home)


def test_python3_is_the_interpreter_of_farm_with_its_packages(board: SshTransport) -> None:
    code = "import sys, numpy; print(sys.prefix)"
    result = board.run(f"python3 -c '{code}'", timeout_s=30)
    assert result.stdout.decode().strip() == sys.prefix


def test_a_board_without_python(fleet: EmulatedFleet) -> None:
    transport = transport_to(fleet.start("no-python", python=None))
    transport.connect(20)
    assert not (fleet.state_dir / "no-python" / "home" / "bin").exists()
    transport.close()


def test_sftp_does_not_leave_the_home(board: SshTransport, home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret")
    (home / "way-out").symlink_to(tmp_path)
    connection = board._connection
    client = paramiko.SFTPClient.from_transport(connection)
    for path in (str(outside), "../../client_key", "way-out/outside", "/etc/passwd"):
        for mode in ("rb", "wb"):
            with pytest.raises(PermissionError):
                client.open(path, mode)
        with pytest.raises(PermissionError):
            client.stat(path)
    for act in (client.remove, client.rmdir, client.mkdir, client.listdir):
        with pytest.raises(PermissionError):
            act(str(tmp_path / "outside"))
    with client.open("inside", "wb") as file:
        file.write(b"x")
    for act in (client.rename, client.posix_rename):
        with pytest.raises(PermissionError):
            act("inside", str(tmp_path / "moved"))
    client.mkdir("folder")
    client.posix_rename("inside", "folder/renamed")
    assert client.listdir("folder") == ["renamed"]
    client.chmod("folder/renamed", 0o640)
    assert stat.S_IMODE(client.stat("folder/renamed").st_mode) == 0o640
    client.remove("folder/renamed")
    client.rmdir("folder")
    client.close()
    assert outside.read_text() == "secret"
    (home / "way-out").unlink()


DEEP = (
    "trap '' HUP; sleep 300 & (trap '' HUP TERM; sleep 300 & sleep 300) & "
    "setsid sleep 300 & sleep 0.2; echo go; cat; sleep 300"
)


def sleepers(home: Path) -> set[int]:
    """Living processes that started in `home`."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_alive(int(entry.name)):
            try:
                if (entry / "cwd").resolve() == home and entry.name != str(os.getpid()):
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


@pytest.mark.parametrize("how", ["channel", "connection", "server"])
def test_whatever_a_command_started_ends_with_it(tmp_path: Path, how: str) -> None:
    with EmulatedFleet(tmp_path) as fleet:
        transport = transport_to(fleet.start("rv1126"))
        transport.connect(20)
        home = fleet.state_dir / "rv1126" / "home"
        channel = transport.open(DEEP, timeout_s=10)
        assert channel.read(10) == b"go\n"
        assert len(sleepers(home)) >= 5
        if how == "channel":
            channel.close()
        elif how == "connection":
            transport.close()
        else:
            fleet.stop("rv1126")
        assert wait_until(lambda: not sleepers(home))
        transport.close()


def test_a_command_past_its_deadline_is_ended(board: SshTransport, home: Path) -> None:
    before = sleepers(home)
    with pytest.raises(TransientError):
        board.run("sleep 300", timeout_s=0.3)
    assert wait_until(lambda: sleepers(home) <= before)


OWNER = """
import sys, time
from pathlib import Path
from orchestrator.fleet.emulated.boards import EmulatedFleet
from orchestrator.fleet.transport.ssh import SshTransport
fleet = EmulatedFleet(Path(sys.argv[1]))
place = fleet.start("rv1126")
transport = SshTransport("b", place.host, port=place.port, user=place.user,
                         key_file=place.key_file, host_key=place.host_key, use_agent=False)
transport.connect(20)
channel = transport.open("echo $PPID $$; exec sleep 300", timeout_s=10)
sys.stdout.write(channel.read(100).decode()); sys.stdout.flush()
time.sleep(300)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_and_its_commands_die_with_the_process_that_started_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        server, command = (int(word) for word in owner.stdout.readline().split())
        assert is_alive(server)
        assert is_alive(command)
        owner.send_signal(number)
        assert wait_until(lambda: not is_alive(command) and not is_alive(server))


def test_a_server_that_died_is_started_again(tmp_path: Path) -> None:
    with EmulatedFleet(tmp_path) as fleet:
        first = fleet.start("rv1126")
        transport = transport_to(first)
        transport.connect(20)
        pid = int(transport.run("echo $PPID", timeout_s=10).stdout)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(TransientError):
            transport.run("true", timeout_s=5)
        assert wait_until(lambda: not is_alive(pid))
        again = fleet.start("rv1126")
        assert again.host_key == first.host_key
        transport = transport_to(again)
        transport.connect(20)
        assert transport.run("true", timeout_s=10).status == 0
        transport.close()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "rv1126").mkdir()
    ensure_key(tmp_path / "rv1126" / "host_key")
    (tmp_path / "rv1126" / "home").write_text("a file in the way")
    with EmulatedFleet(tmp_path) as fleet:
        with pytest.raises(TransientError, match=r"did not start: .*FileExistsError"):
            fleet.start("rv1126")


def test_many_boards_share_few_processes_and_stay_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulated, "MOST_PROCESSES", 2)
    with EmulatedFleet(tmp_path) as fleet:
        names = ["a", "b", "c", "d", "e"]
        places = {name: fleet.start(name) for name in names}
        assert len({place.port for place in places.values()}) == 5
        assert len({place.host_key for place in places.values()}) == 5
        lines = {name: transport_to(place) for name, place in places.items()}
        servers = set()
        for name, line in lines.items():
            line.connect(20)
            told = line.run("echo $PPID; pwd", timeout_s=10).stdout.decode().split()
            servers.add(told[0])
            assert told[1].endswith(f"/{name}/home")
        assert len(servers) == 2
        held = lines["c"].open("sleep 300", timeout_s=10)
        fleet.stop("c")
        assert wait_until(lambda: not sleepers(tmp_path / "c" / "home"))
        with pytest.raises(TransientError):
            lines["c"].run("true", timeout_s=5)
        held.close()
        # Its neighbours in the same process go on, and it comes back as itself.
        assert lines["a"].run("true", timeout_s=10).status == 0
        assert lines["e"].run("true", timeout_s=10).status == 0
        assert fleet.start("c").host_key == places["c"].host_key
        for line in lines.values():
            line.close()
