"""`farm boards` with SSH as people have it: jumps, agents, old and small boards."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.fleet.emulated.boards import ensure_key
from orchestrator.fleet.transport.known_keys import HostKey
from orchestrator.specs.inventory import load_inventory
from orchestrator.specs.transports import SshTransportSpec
from orchestrator.store.fleet_log import FleetLog
from tests.cli.servers import VENV, Farm, adding, board_like
from tests.fleet.dressed import BOARDS
from tests.fleet.peers import old_server
from tests.openssh import SshdAddress, running_sshd


def openssh_home(tmp_path: Path, config: str, *known: tuple[SshdAddress, str]) -> None:
    ssh = tmp_path / "home" / ".ssh"
    ssh.mkdir(mode=0o700)
    (ssh / "config").write_text(config)
    lines = [f"[{place.host}]:{place.port} {key}\n" for place, key in known]
    (ssh / "known_hosts").write_text("".join(lines))


@pytest.mark.needs("sshd")
def test_a_board_behind_a_jump_host_of_the_users_configuration(farm: Farm, tmp_path: Path) -> None:
    gate_key = tmp_path / "gate-key"
    gate_folder = tmp_path / "gate"
    gate_folder.mkdir()
    with ExitStack() as stack:
        # Each server lets in another key: whoever is asked at the wrong one is not let in.
        gate = stack.enter_context(running_sshd(gate_folder, ensure_key(gate_key)))
        board, key = stack.enter_context(board_like(tmp_path, {}))
        openssh_home(
            tmp_path,
            f"Host gate\n  HostName {gate.host}\n  Port {gate.port}\n  User {gate.user}\n"
            f"  IdentityFile {gate_key}\n"
            f"Host vim3.lab\n  HostName {board.host}\n  Port {board.port}\n  User {board.user}\n"
            f"  IdentityFile {key}\n  ProxyJump gate\n",
            (gate, gate.host_key),
            (board, board.host_key),
        )
        code, out, err = farm("add", "vim3.lab", "--kind", "host-cpu", "--yes")
        assert code == 0, out + err
        assert "vim3: ready" in out
        entry = load_inventory("device_inventory.yaml").board("vim3")
        assert entry is not None
        assert isinstance(entry.transport, SshTransportSpec)
        (hop,) = entry.transport.jump
        assert (hop.host, hop.port, hop.key) == (gate.host, gate.port, str(gate_key))
        assert hop.host_key == gate.host_key
        log = (gate_folder / "sshd" / "log").read_text()
        assert "Accepted publickey" in log
        _, page, _ = farm("show", "vim3")
        assert f"over {gate.host}:{gate.port}" in page

        # The jump host is trusted no more than the board: another key, and nothing goes on.
        file = Path("device_inventory.yaml")
        other = ensure_key(tmp_path / "other")
        file.write_text(file.read_text().replace(gate.host_key, other))
        code, out, _ = farm("check", "vim3")
        assert code == 1
        assert HostKey.parse(other).fingerprint in out
        assert HostKey.parse(gate.host_key).fingerprint in out
        file.write_text(file.read_text().replace(other, gate.host_key))
        gate.process.terminate()
        gate.process.wait(10)
        code, out, _ = farm("check", "vim3")
        assert code == 1
        assert "refused" in out


@pytest.mark.needs("sshd")
def test_a_jump_host_that_does_not_forward_is_told(farm: Farm, tmp_path: Path) -> None:
    key = tmp_path / "key"
    with running_sshd(tmp_path, ensure_key(key), settings="AllowTcpForwarding no") as gate:
        code, out, err = farm(
            *("add", "x@127.0.0.1:1", "--key", str(key), "--yes", "--name", "b"),
            *("--jump", f"{gate.user}@{gate.host}:{gate.port}"),
            *("--jump-host-key", gate.host_key),
        )
    # The key that is named is the board's; the jump host has the user's usual ones, here none.
    assert code == 2, out + err
    assert "no private key" in err


def test_ways_that_farm_lacks_are_told(farm: Farm, tmp_path: Path) -> None:
    openssh_home(
        tmp_path,
        "Host a\n  ProxyCommand nc -X 5 %h %p\nHost b\n  ProxyJump c\nHost c\n  ProxyJump b\n",
    )
    code, _, err = farm("add", "a", "--yes")
    assert code == 2
    assert "ProxyCommand nc -X 5" in err
    assert "ProxyJump GATE" in err
    code, _, err = farm("add", "b", "--yes")
    assert code == 2
    assert "jumps over more than" in err


@pytest.mark.needs("sshd", "ssh-agent")
def test_a_locked_key_logs_in_through_the_agent_that_holds_it(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "agent"
    holder = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        with board_like(tmp_path, {}) as (sshd, key):
            while not socket.exists():
                assert holder.poll() is None
            environment = os.environ | {"SSH_AUTH_SOCK": str(socket)}
            subprocess.run(["ssh-add", "-q", str(key)], check=True, env=environment)
            key.with_name("key.pub").write_text(ensure_key(key) + "\n")
            lock = ["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(key)]
            subprocess.run(lock, check=True, capture_output=True)
            words = adding(sshd, key, "--kind", "host-cpu", "--name", "b")
            code, _, err = farm(*words)
            assert code == 2
            assert "ssh-add" in err
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            code, out, err = farm(*words)
            assert code == 0, out + err
    finally:
        holder.terminate()
        holder.wait(10)


@pytest.mark.needs("sshd")
def test_a_private_key_that_others_can_read_is_not_used(farm: Farm, tmp_path: Path) -> None:
    with board_like(tmp_path, {}) as (sshd, key):
        key.chmod(0o644)
        code, _, err = farm(*adding(sshd, key, "--kind", "host-cpu", "--name", "b"))
        assert code == 2
        assert "can be read by other users" in err
        assert f"chmod 600 {key}" in err
        assert "Accepted publickey" not in (tmp_path / "sshd" / "log").read_text()


def test_a_boards_check_goes_on_periodically(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    sleep = time.sleep

    def nap(seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread():
            sleep(seconds)  # another test's helper thread may still live
            return
        naps.append(seconds)
        if len(naps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", nap)
    Path("device_inventory.yaml").write_text(
        "boards:\n  - name: a\n    kind: rv1126\n    transport: {ssh: {host: 127.0.0.1, port: 1}}\n"
    )
    assert farm("check", "all", "--every", "30m")[0] == 130
    assert all(1700 < seconds <= 1800 for seconds in naps)
    assert [e.event for e in FleetLog(Path("runs")).entries()] == ["checked", "checked"]
    assert farm("check", "all", "--every", "often")[0] == 2


@pytest.mark.parametrize("old", ["kex", "host key"])
def test_a_server_that_knows_only_sha1_gets_a_clear_word(farm: Farm, old: str) -> None:
    with old_server(old) as port:
        code, out, err = farm("add", f"x@127.0.0.1:{port}", "--yes", "--name", "old")
    assert code == 1, out + err
    assert "built on SHA-1" in err
    assert "dropbearkey" in err
    assert "Traceback" not in err


SMALL = """\
set -e
mount -t tmpfs none "$HOME_OF_BOARD"
mount -o remount,ro "$HOME_OF_BOARD"
exec "$@"
"""


@pytest.mark.slow
@pytest.mark.needs("sshd", "unshare")
def test_a_small_board_without_sftp_with_a_read_only_home_and_in_1970(
    farm: Farm, tmp_path: Path
) -> None:
    as_root = ["-m"] if os.geteuid() == 0 else ["-Urm"]
    if subprocess.run(["unshare", *as_root, "true"], check=False).returncode:
        pytest.skip("no mount namespaces for this user here")
    tools = tmp_path / "tools"
    tools.mkdir()
    date = tools / "date"
    date.write_text("#!/bin/sh\necho 61\n")
    date.chmod(0o755)
    calendar = {"PATH": f"{tools}:{VENV}:/usr/bin:/bin"}
    files = BOARDS["rockchip"].files
    wrapped = ["unshare", *as_root, "sh", "-c", SMALL, "sh"]
    environment = os.environ | {"HOME_OF_BOARD": str(tmp_path / "board-home")}
    with board_like(
        tmp_path, files, sftp=False, environment=calendar, wrapped=(wrapped, environment)
    ) as (sshd, key):
        code, out, err = farm(*adding(sshd, key, "--kind", "host-cpu", "--name", "small"))
        assert code == 0, out + err
        assert "days behind" in out
        assert "home      not writable" in out
        entry = load_inventory("device_inventory.yaml").board("small")
        assert entry is not None
        assert entry.workdir.endswith("/farm")
        assert "small: ready" in out
        shown = json.loads(farm("list", "--json")[1])[0]
        assert shown["state"] == "ready"
        code, out, err = farm("wipe", "small")
        assert code == 0, out + err
        # Outside of the test's own folder, as on a board; nothing of it may stay here.
        for left in Path(entry.workdir).glob("board.lock"):
            left.unlink()
        Path(entry.workdir).rmdir()
