"""Whom farm trusts and with what it proves itself: host keys, private keys, old servers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import BoardError, TransientError, UserError
from orchestrator.fleet.emulated.boards import EmulatedAddress, EmulatedFleet, ensure_key
from orchestrator.fleet.transport.jump_hosts import scan_host_key
from orchestrator.fleet.transport.known_keys import ChangedHostKey, HostKey, Pin, UnknownHostKey
from orchestrator.fleet.transport.ssh import SshTransport
from tests.fleet.conftest import transport_to
from tests.fleet.peers import old_server
from tests.openssh import running_sshd


def test_a_fingerprint_is_a_pin_too(address: EmulatedAddress) -> None:
    fingerprint = HostKey.parse(address.host_key).fingerprint
    transport = transport_to(address, host_key=fingerprint)
    transport.connect(20)
    assert transport.run("echo hi", timeout_s=10).stdout == b"hi\n"
    transport.close()


@pytest.mark.needs("ssh-keygen")
def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    line = ensure_key(tmp_path / "key")
    shown = subprocess.run(
        ["ssh-keygen", "-lf", "-"], input=line, capture_output=True, text=True, check=True
    )
    assert HostKey.parse(line).fingerprint == shown.stdout.split()[1]


@pytest.mark.parametrize("form", ["line", "fingerprint"])
def test_a_changed_host_key_is_refused_with_both_fingerprints(
    fleet: EmulatedFleet, address: EmulatedAddress, form: str
) -> None:
    pinned = HostKey.parse(fleet.start("imx8mp").host_key)
    pin = pinned.line if form == "line" else pinned.fingerprint
    with pytest.raises(ChangedHostKey) as seen:
        transport_to(address, host_key=pin).connect(10)
    shown = HostKey.parse(address.host_key)
    assert isinstance(seen.value, BoardError)
    assert seen.value.host_key == shown
    for word in ("rv1126", pinned.fingerprint, shown.fingerprint):
        assert word in seen.value.message


def test_an_unknown_host_key_is_refused_with_the_line_to_paste(
    address: EmulatedAddress, tmp_path: Path
) -> None:
    transport = transport_to(address, host_key=None, known_hosts=tmp_path / "none")
    with pytest.raises(UnknownHostKey) as seen:
        transport.connect(10)
    assert HostKey.parse(address.host_key).fingerprint in seen.value.message
    assert f"host_key: {address.host_key}" in seen.value.hint
    with pytest.raises(TransientError, match="not connected"):
        transport.run("true", timeout_s=1)


def test_a_host_that_ssh_knows_already_is_trusted(address: EmulatedAddress, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[{address.host}]:{address.port} {address.host_key}\n")
    transport = transport_to(address, host_key=None, known_hosts=known)
    transport.connect(20)
    transport.close()
    other = ensure_key(tmp_path / "other")
    known.write_text(f"[{address.host}]:{address.port} {other}\n")
    with pytest.raises(ChangedHostKey):
        transport_to(address, host_key=None, known_hosts=known).connect(10)


def test_the_pin_of_the_inventory_outweighs_known_hosts(
    address: EmulatedAddress, tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[{address.host}]:{address.port} {address.host_key}\n")
    pin = ensure_key(tmp_path / "other")
    with pytest.raises(ChangedHostKey):
        transport_to(address, host_key=pin, known_hosts=known).connect(10)


def test_scanning_shows_the_key_and_logs_in_nowhere(address: EmulatedAddress) -> None:
    assert scan_host_key("rv1126", address.host, address.port, 10).line == address.host_key


@pytest.mark.needs("sshd", "ssh-keygen")
def test_of_several_host_keys_the_pinned_one_is_asked_for(tmp_path: Path) -> None:
    lines, settings = {}, ""
    for name in ("rsa", "ecdsa"):
        file = tmp_path / name
        subprocess.run(["ssh-keygen", "-q", "-t", name, "-N", "", "-f", file], check=True)
        lines[name] = " ".join((tmp_path / f"{name}.pub").read_text().split()[:2])
        settings += f"HostKey {file}\n"
    key = tmp_path / "client"
    with running_sshd(tmp_path, ensure_key(key), settings=settings) as sshd:
        lines["ed25519"] = sshd.host_key
        for line in lines.values():
            transport = SshTransport(
                "board",
                sshd.host,
                port=sshd.port,
                user=sshd.user,
                key_file=key,
                host_key=line,
                use_agent=False,
            )
            transport.connect(20)
            transport.close()


@pytest.mark.parametrize(
    "pin",
    [
        "SHA256:short",
        "MD5:00:11",
        "ssh-ed25519",
        "ssh-ed25519 not*base64",
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIBt6MD0YIw2XuP7+1t3c2gH4xxlOA/l58Is5VkStX33V",
        "",
    ],
)
def test_a_pin_that_is_none_is_refused(pin: str) -> None:
    with pytest.raises(UserError):
        Pin.parse(pin)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o660])
def test_a_private_key_that_others_can_read_is_not_used(
    address: EmulatedAddress, tmp_path: Path, mode: int
) -> None:
    copy = tmp_path / "key"
    shutil.copy(address.key_file, copy)
    copy.chmod(mode)
    with pytest.raises(UserError, match=f"{mode:04o}") as seen:
        transport_to(address, key_file=copy).connect(10)
    assert f"chmod 600 {copy}" in seen.value.hint


def test_a_missing_private_key_is_told(address: EmulatedAddress, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        transport_to(address, key_file=tmp_path / "nowhere").connect(10)


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_a_file_that_is_no_key_is_told(address: EmulatedAddress, tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(UserError, match="not a private key"):
        transport_to(address, key_file=file).connect(10)


@pytest.mark.needs("ssh-keygen")
def test_a_key_with_a_passphrase_goes_into_the_agent(
    address: EmulatedAddress, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", file], check=True
    )
    with pytest.raises(UserError, match="passphrase") as seen:
        transport_to(address, key_file=file).connect(10)
    assert "ssh-add" in seen.value.hint


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    while not socket.exists():
        assert process.poll() is None
    yield socket
    process.terminate()
    process.wait(5)


@pytest.mark.needs("ssh-agent", "ssh-add")
def test_a_key_of_the_agent_logs_in(address: EmulatedAddress, agent: Path, tmp_path: Path) -> None:
    for number in range(3):
        ensure_key(tmp_path / f"wrong{number}")
        subprocess.run(["ssh-add", "-q", tmp_path / f"wrong{number}"], check=True)
    subprocess.run(["ssh-add", "-q", address.key_file], check=True)
    transport = transport_to(address, key_file=None, use_agent=True)
    transport.connect(20)
    assert transport.run("echo hi", timeout_s=10).stdout == b"hi\n"
    transport.close()
    with pytest.raises(UserError):
        transport_to(address, key_file=tmp_path / "wrong0", use_agent=False).connect(10)


def test_no_key_at_all_is_told(
    address: EmulatedAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(UserError, match="no private key") as seen:
        transport_to(address, key_file=None, use_agent=True).connect(10)
    assert "ssh-keygen" in seen.value.hint


@pytest.mark.parametrize("old", ["kex", "host key", "cipher", "mac"])
def test_an_old_server_gets_a_clear_word(old: str) -> None:
    with old_server(old) as port:
        transport = SshTransport("old-board", "127.0.0.1", port=port, user="x", use_agent=False)
        with pytest.raises(BoardError, match="old-board: no common SSH algorithm") as seen:
            transport.connect(10)
    assert "SHA-1" in seen.value.hint
    assert "dropbear" in seen.value.hint


@pytest.mark.needs("sshd")
def test_a_server_that_takes_no_keys_is_told(tmp_path: Path) -> None:
    key = tmp_path / "key"
    line = ensure_key(key)
    settings = "PubkeyAuthentication no\nPasswordAuthentication yes\n"
    with running_sshd(tmp_path, line, settings=settings) as sshd:
        transport = SshTransport(
            "board",
            sshd.host,
            port=sshd.port,
            user=sshd.user,
            key_file=key,
            host_key=sshd.host_key,
            use_agent=False,
        )
        with pytest.raises(UserError, match="does not accept keys; it offers password"):
            transport.connect(10)
