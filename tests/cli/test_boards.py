"""`farm boards` against real OpenSSH servers dressed as boards, and against emulated boards.

Over 500 lines, since every action of the one command shares the same servers and helpers.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from orchestrator.fleet.boards.addressing import address_of
from orchestrator.fleet.boards.board import BoardLink
from orchestrator.fleet.emulated.boards import EmulatedFleet, ensure_key
from orchestrator.fleet.transport.known_keys import HostKey
from orchestrator.planning.facts import BoardFacts
from orchestrator.preflight.caches import FactsFile
from orchestrator.specs.inventory import load_inventory
from orchestrator.specs.transports import SshTransportSpec
from orchestrator.store.fleet_log import FleetLog
from tests.cli.servers import EMPTY, Farm, adding, board_like
from tests.fleet.dressed import BOARDS, ONE_AND_OTHERS


@pytest.mark.needs("sshd")
@pytest.mark.parametrize("name", ONE_AND_OTHERS)
def test_a_board_is_added_by_one_command(name: str, farm: Farm, tmp_path: Path) -> None:
    dressed = BOARDS[name]
    with board_like(tmp_path, dressed.files) as (sshd, key):
        code, out, err = farm(*adding(sshd, key, "--name", "lab.1"))
        board = load_inventory("device_inventory.yaml").board("lab.1")
        assert board is not None, out + err
        assert board.kind == dressed.kind
        assert board.runtime.name == dressed.runtime
        assert board.transport == SshTransportSpec(
            host=sshd.host,
            port=sshd.port,
            user=sshd.user,
            key=str(key),
            host_key=sshd.host_key,
        )
        text = Path("device_inventory.yaml").read_text()
        assert text.startswith("# Anna's   boards\nboards:   # none yet\n  - name: lab.1\n")
        # onnxruntime really ran there; the vendor's runtime is faked and cannot be proved.
        assert "onnxruntime: passed" in out
        assert (f"{dressed.runtime}: check failed" in out) or (
            f"{dressed.runtime}: not checked" in out
        )
        assert code == 1
        assert "gets no work before" in out

        code, out, _ = farm("list", "--json")
        (shown,) = json.loads(out)
        assert shown["state"] == "unproved"
        assert dressed.runtime in shown["reason"]
        proofs = {proof["runtime"]: proof["proved"] for proof in shown["proofs"]}
        assert proofs["onnxruntime"] is True
        assert proofs[dressed.runtime] is False
        code, out, _ = farm("show", "lab.1")
        assert code == 0
        assert dressed.files["proc/device-tree/model"].rstrip(b"\0").decode() in out

    assert farm("remove", "lab.1")[0] == 0
    assert Path("device_inventory.yaml").read_text() == EMPTY


@pytest.mark.needs("sshd")
def test_a_board_that_proves_itself_is_ready(farm: Farm, tmp_path: Path) -> None:
    with board_like(tmp_path, {}) as (sshd, key):
        code, out, err = farm(*adding(sshd, key))
        assert code == 2
        assert "not recognised" in err
        assert "--kind" in err
        assert Path("device_inventory.yaml").read_text() == EMPTY
        code, out, err = farm(*adding(sshd, key, "--kind", "host-cpu"))
        assert code == 0, out + err
        name = "board-127-0-0-1"
        assert f"{name}: ready" in out
        code, out, _ = farm("list")
        assert name in out
        assert "ready" in out
        # What it said before counts no more: a run that has all in the store would not ask.
        (board,) = load_inventory(Path("device_inventory.yaml")).boards
        facts = FactsFile(Path(".farm"))
        facts.save([(board, BoardFacts("x86_64", "another", "3.6", {"onnxruntime": "0.1"}))])
        assert farm("check", name)[0] == 0
        known = facts.load({name: board})[name]
        assert known.runtimes["onnxruntime"] == onnxruntime.__version__
        assert known.cpu != "another"
        # A second board of that name is refused before anything is connected.
        code, _, err = farm(*adding(sshd, key, "--kind", "host-cpu"))
        assert code == 2
        assert "already" in err
        assert "--name" in err
    # It is gone now: a check says so, and no list calls it ready.
    code, out, _ = farm("check", name)
    assert code == 1
    assert "unreachable: " in out
    assert json.loads(farm("list", "--json")[1])[0]["state"] == "unreachable"


# ---- trust


@pytest.mark.needs("sshd")
def test_an_unknown_host_key_is_not_approved_by_yes(farm: Farm, tmp_path: Path) -> None:
    with board_like(tmp_path, BOARDS["nxp"].files) as (sshd, key):
        target = f"{sshd.user}@{sshd.host}:{sshd.port}"
        code, out, err = farm("add", target, "--key", str(key), "--yes")
        fingerprint = HostKey.parse(sshd.host_key).fingerprint
        assert code == 2
        assert "was not approved" in err
        assert fingerprint in out
        assert f"--host-key {fingerprint}" in err
        log = (tmp_path / "sshd" / "log").read_text()
        assert "Accepted publickey" not in log
        assert "userauth" not in log
    assert Path("device_inventory.yaml").read_text() == EMPTY
    assert not Path("runs").exists()


@pytest.mark.needs("sshd")
def test_a_changed_host_key_is_refused_with_both_fingerprints(farm: Farm, tmp_path: Path) -> None:
    other = ensure_key(tmp_path / "other")
    with board_like(tmp_path, BOARDS["nxp"].files) as (sshd, key):
        shown = HostKey.parse(sshd.host_key).fingerprint
        pinned = HostKey.parse(other).fingerprint
        target = f"{sshd.user}@{sshd.host}:{sshd.port}"
        words = ("add", target, "--key", str(key), "--yes")
        code, _, err = farm(*words, "--host-key", other)
        assert code == 1
        assert shown in err
        assert pinned in err
        # What ssh itself knows counts as well.
        known = tmp_path / "home" / ".ssh" / "known_hosts"
        known.parent.mkdir(mode=0o700)
        known.write_text(f"[{sshd.host}]:{sshd.port} {other}\n")
        code, _, err = farm(*words)
        assert code == 1
        assert shown in err
        assert pinned in err
        known.write_text(f"[{sshd.host}]:{sshd.port} {sshd.host_key}\n")
        code, out, _ = farm(*words, "--name", "nxp")
        assert "nxp: written" in out
        # A check later finds another key in the inventory than the board shows.
        file = Path("device_inventory.yaml")
        file.write_text(file.read_text().replace(sshd.host_key, other))
        code, out, _ = farm("check", "nxp")
        assert code == 1
        assert "quarantined" in out
        assert shown in out
        assert pinned in out


@pytest.mark.needs("sshd")
def test_a_key_that_others_can_read_is_not_used(farm: Farm, tmp_path: Path) -> None:
    with board_like(tmp_path, BOARDS["nxp"].files) as (sshd, key):
        key.chmod(0o644)
        code, _, err = farm(*adding(sshd, key))
        assert code == 2
        assert f"chmod 600 {key}" in err
        assert "Accepted publickey" not in (tmp_path / "sshd" / "log").read_text()


@pytest.mark.slow
@pytest.mark.needs("sshd")
def test_a_person_at_a_terminal_approves_the_fingerprint(farm: Farm, tmp_path: Path) -> None:
    import pexpect

    with board_like(tmp_path, BOARDS["nxp"].files) as (sshd, key):
        words = ["-m", "orchestrator.cli.main", "boards", "add", "--key", str(key), "--name", "nxp"]
        words.append(f"{sshd.user}@{sshd.host}:{sshd.port}")
        path = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        for answer, last in (("no", "was not approved"), ("yes", "write nxp into")):
            child = pexpect.spawn(
                sys.executable, words, env={**os.environ, **path}, timeout=60, encoding="utf-8"
            )
            child.expect(r"SHA256:\S+")
            assert child.after == HostKey.parse(sshd.host_key).fingerprint
            child.expect(r"is it the board's\?")
            child.sendline(answer)
            child.expect(last)
            if answer == "yes":
                child.sendline("yes")
                child.expect("nxp: written into")
            child.expect(pexpect.EOF)
            child.close()
    assert load_inventory("device_inventory.yaml").board("nxp") is not None


@pytest.mark.parametrize(
    ("target", "more", "says"),
    [
        ("anna:hunter2@10.0.0.1", (), "a password has no place"),
        ("-oProxyCommand=x", (), "not a host name"),
        ("a b", (), "not a host name"),
        ("x@", (), "not a board's address"),
        ("x:99999", (), "99999 is not a port"),
        ("h\x1b[2J", (), "not a board's address"),
        ("x", ("--name", "../../etc/cron.d/x"), "name"),
        ("x", ("--name", "a/b"), "name"),
        ("x", ("--name", ".."), "name"),
        ("x", ("--kind", "imx8"), "did you mean 'imx8mp'"),
        ("x", ("--key", "-----BEGIN OPENSSH PRIVATE KEY-----"), "never the key itself"),
        ("x", ("--host-key", "MD5:00"), "not a public key: 'MD5:00'"),
    ],
)
def test_addresses_and_names_are_checked_before_anything_is_sent(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, target: str, more: tuple[str, ...], says: str
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("connected")

    monkeypatch.setattr(socket, "create_connection", refuse)
    code, out, err = farm("add", "--yes", *more, "--", target)
    assert code == 2, out + err
    assert says in err
    assert "hunter2" not in out + err
    assert "\x1b" not in out + err
    assert Path("device_inventory.yaml").read_text() == EMPTY


@pytest.mark.parametrize("word", ["show", "check", "who", "wipe", "drain", "undrain", "remove"])
def test_names_of_no_board_are_refused(farm: Farm, word: str) -> None:
    for name in ("../x", "nobody", "x\x1b[31m"):
        code, out, err = farm(word, name)
        assert code == 2
        assert "there is no board" in err
        assert "\x1b" not in out + err


BAD_FILES = {
    "bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
    ),
    "tag": "boards: !!python/object/apply:os.system ['touch owned']\n",
    "password": "boards:\n  - name: a\n    kind: rv1126\n"
    "    transport: {ssh: {host: x, password: hunter2}}\n",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_hostile_inventory_is_refused_by_every_command(
    farm: Farm, tmp_path: Path, name: str
) -> None:
    Path("device_inventory.yaml").write_text(BAD_FILES[name])
    for words in (("list",), ("check", "all"), ("remove", "a"), ("add", "--yes", "127.0.0.1:1")):
        code, out, err = farm(*words)
        assert code == 2, words
        assert "device_inventory.yaml:" in err
        assert "hunter2" not in out + err
    assert not (tmp_path / "owned").exists()
    assert Path("device_inventory.yaml").read_text() == BAD_FILES[name]


@pytest.mark.needs("sshd")
def test_banners_and_device_trees_reach_no_terminal(farm: Farm, tmp_path: Path) -> None:
    evil = b"\x1b]0;owned\x07\x1b[2J\xe2\x80\xaeboard" + b"A" * 50_000
    files = BOARDS["nxp"].files | {"proc/device-tree/model": evil}
    banner = tmp_path / "banner"
    banner.write_bytes(b"\x1b[31m" + b"B" * 100_000 + b"\n")
    with board_like(tmp_path, files, settings=f"Banner {banner}") as (sshd, key):
        code, out, err = farm(*adding(sshd, key, "--name", "nxp"))
        assert "nxp: written" in out, err
        stranger = tmp_path / "stranger"
        ensure_key(stranger)
        code, more, err = farm(*adding(sshd, stranger, "--name", "two"))
        assert code == 2
        assert "refused our key" in err
    _, page, _ = farm("show", "nxp")
    _, listed, _ = farm("list")
    for text in (out, more, err, page, listed):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "owned" not in text
        assert len(text) < 20_000


@contextmanager
def peer(answer: bytes) -> Iterator[int]:
    """A port whose every caller is told `answer` and nothing else."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            with caller:
                try:
                    caller.sendall(answer)
                    caller.settimeout(5)
                    while caller.recv(4096):
                        pass
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad\r\n\r\n" * 2000, b"SSH-2.0-x\x1b[2J\r\n" + b"\xff" * 70000, b""]
)
def test_what_is_no_ssh_server_is_an_error_not_a_crash(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    from orchestrator.cli.boards import trust

    monkeypatch.setattr(trust, "ADD_CONNECT_S", 3.0)
    with peer(answer) as port:
        code, out, err = farm("add", f"x@127.0.0.1:{port}", "--yes")
    assert code in (1, 2)
    assert "board-127-0-0-1" in err
    assert "\x1b" not in out + err
    assert "Traceback" not in err


# ---- boards that are broken


@pytest.mark.needs("sshd")
def test_a_board_without_python_is_told_how_to_get_one(farm: Farm, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "tr", "head", "sed", "grep", "uname", "date"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    with board_like(tmp_path, BOARDS["rockchip"].files, environment={"PATH": str(tools)}) as (
        sshd,
        key,
    ):
        code, _, err = farm(*adding(sshd, key))
    assert code == 1
    assert "no Python 3.6 or later there" in err
    assert "--python /path/to/python3" in err
    assert Path("device_inventory.yaml").read_text() == EMPTY


BROKEN = {
    "hangs": ("import time; time.sleep(600)", "has not answered"),
    "crashes": ("import os; os.abort()", "SIGABRT"),
    "is not there": ("raise ImportError('libgomp.so.1: no such file')", "libgomp.so.1"),
    "computes wrongly": (
        "import sys; mine = sys.modules.pop('onnxruntime'); here = sys.path.pop(0)\n"
        "import os; sys.path = [p for p in sys.path if p != os.environ['PYTHONPATH']]\n"
        "import onnxruntime as real\n"
        "run = real.InferenceSession.run\n"
        "def wrong(self, *a, **k): return [x * 1.01 for x in run(self, *a, **k)]\n"
        "real.InferenceSession.run = wrong\n"
        "sys.modules['onnxruntime'] = real",
        "it computes wrongly",
    ),
}


@pytest.mark.needs("sshd")
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(how, marks=() if how == "computes wrongly" else pytest.mark.slow)
        for how in BROKEN
    ],
)
def test_a_connected_board_whose_runtime_is_broken_is_never_ready(
    how: str, farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import orchestrator.fleet.boards.health as health

    monkeypatch.setattr(health, "PROOF_OPEN_S", 2.0 if how == "hangs" else 30.0)
    code, says = BROKEN[how]
    package = tmp_path / "packages" / "onnxruntime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"__version__ = '9.9'\n{code}\n")
    with board_like(tmp_path, {}, environment={"PYTHONPATH": str(package.parent)}) as (sshd, key):
        status, out, err = farm(*adding(sshd, key, "--kind", "host-cpu", "--name", "bad"))
        assert status == 1, out + err
        assert "bad: quarantined" in out
        assert says in out
        assert "bad: ready" not in out
        (shown,) = json.loads(farm("list", "--json")[1])
        assert shown["state"] == "quarantined"
        # Quarantine survives, whatever is not a good check.
        (shown,) = json.loads(farm("list", "--json", "--live")[1])
        assert shown["state"] == "quarantined"
        # Mended, it is ready at the next check.
        shutil.rmtree(package)
        monkeypatch.setattr(health, "PROOF_OPEN_S", 30.0)
        status, out, _ = farm("check", "bad")
        assert status == 0, out
        assert "bad: ready" in out


# ---- the lock


@pytest.fixture
def emulated(farm: Farm, tmp_path: Path) -> Farm:
    Path("device_inventory.yaml").write_text(
        "boards:\n  - {name: one, kind: rv1126, transport: emulated}\n"
        "  - {name: here, kind: host-cpu, transport: local}\n"
    )
    return farm


@pytest.mark.slow
def test_who_release_and_wipe(emulated: Farm, tmp_path: Path) -> None:
    assert emulated("who", "one")[:2] == (0, "one is free\n")
    board = load_inventory("device_inventory.yaml").board("one")
    assert board is not None
    with EmulatedFleet(tmp_path / ".farm" / "emulated") as fleet:
        place = address_of(board, owner="anna run 7", state=tmp_path / ".farm", emulated=fleet)
        link = BoardLink(place)
        link.connect()
        code, out, _ = emulated("who", "one")
        assert (code, "one is held by anna run 7 since" in out) == (0, True)
        assert json.loads(emulated("who", "one", "--json")[1])["owner"] == "anna run 7"
        shown = json.loads(emulated("list", "--json", "--live")[1])
        assert [(b["name"], b["state"]) for b in shown] == [("one", "busy"), ("here", "unproved")]
        code, out, _ = emulated("check", "one")
        assert code == 1
        assert "one: busy: " in out
        assert "anna run 7" in out
        code, _, err = emulated("wipe", "one")
        assert code == 1
        assert "anna run 7" in err
        code, _, err = emulated("release", "one")
        assert code == 2
        assert "--reason" in err
        assert emulated("release", "one", "--reason", " ")[0] == 2
        code, out, _ = emulated("release", "one", "--reason", "demo at noon")
        assert code == 0
        assert "one: taken from anna run 7" in out
        link.close()
    assert emulated("who", "one")[1] == "one is free\n"
    code, out, _ = emulated("wipe", "one")
    assert code == 0
    assert "agent-" in out
    home = tmp_path / ".farm" / "emulated" / "one" / "home" / ".farm"
    assert [path.name for path in home.iterdir()] == ["board.lock"]
    events = [entry.event for entry in FleetLog(Path("runs")).entries()]
    assert events == ["checked", "released", "wiped"]


def test_check_all_and_draining(emulated: Farm) -> None:
    code, out, err = emulated("check", "all")
    assert code == 0, out + err
    assert "one: ready" in out
    assert "here: ready" in out
    assert emulated("drain", "one", "--reason", "demo")[0] == 0
    shown = {b["name"]: b for b in json.loads(emulated("list", "--json")[1])}
    assert shown["one"]["state"] == "draining"
    assert "demo" in shown["one"]["reason"]
    assert shown["here"]["state"] == "ready"
    assert shown["here"]["versions"]["onnxruntime"]
    assert emulated("undrain", "one")[0] == 0
    assert json.loads(emulated("list", "--json")[1])[0]["state"] == "ready"
    assert "was not drained" in emulated("undrain", "one")[2]


# ---- many at once


@pytest.mark.needs("sshd")
def test_hosts_of_an_openssh_configuration_are_imported(farm: Farm, tmp_path: Path) -> None:
    with board_like(tmp_path, BOARDS["nxp"].files) as (sshd, key):
        ssh = tmp_path / "home" / ".ssh"
        ssh.mkdir(mode=0o700)
        (ssh / "known_hosts").write_text(f"[{sshd.host}]:{sshd.port} {sshd.host_key}\n")
        (ssh / "config").write_text(
            "Host *\n  ServerAliveInterval 5\n"
            f"Host nxp.lab\n  HostName {sshd.host}\n  Port {sshd.port}\n  User {sshd.user}\n"
            f"  IdentityFile {key}\n"
            "Host behind\n  HostName 10.9.9.9\n  ProxyCommand nc %h %p\n"
        )
        code, out, err = farm("import", "--yes")
        assert "nxp: written" in out, out + err
        assert code == 1
        assert "reaches behind by ProxyCommand nc" in err
        board = load_inventory("device_inventory.yaml").board("nxp")
        assert board is not None
        assert isinstance(board.transport, SshTransportSpec)
        assert (board.transport.host, board.transport.port) == (sshd.host, sshd.port)
        assert board.transport.host_key == sshd.host_key
        listing = tmp_path / "boards.txt"
        listing.write_text(f"# mine\n{sshd.user}@{sshd.host}:{sshd.port}\n")
        code, out, _ = farm("import", str(listing), "--yes")
        assert code == 0
        assert "already in device_inventory.yaml" in out


def test_match_exec_runs_nothing(farm: Farm, tmp_path: Path) -> None:
    config = tmp_path / "evil_config"
    config.write_text('Match exec "touch owned"\n  User x\nHost a\n  HostName 127.0.0.1\n')
    code, _, err = farm("import", str(config), "--yes")
    assert code == 1
    assert "Match exec" in err
    assert not (tmp_path / "owned").exists()
