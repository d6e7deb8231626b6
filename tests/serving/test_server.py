"""Where the server listens, and under what conditions others may reach it."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.errors import UserError
from orchestrator.fleet.boards.person import person
from orchestrator.serving.access import Access, Key, origin
from orchestrator.serving.server import Place, _origins, check, keys_of


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (Place("0.0.0.0"), "--token-file"),
        (Place("lab.example"), "--token-file"),
        (Place("0.0.0.0", token_file="t"), "--tls-cert"),
        (Place(behind_proxy="https://farm.example"), "--token-file"),
        (Place(certificate=__file__), "--tls-key"),
        (Place(certificate="none.pem", key="none.pem"), "cannot be read"),
    ],
)
def test_others_reach_it_only_with_a_token_file_and_tls(place: Place, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check(place)


def test_loopback_needs_nothing_and_a_proxy_stands_for_tls() -> None:
    check(Place())
    check(Place("localhost"))
    check(Place("::1"))
    check(Place("0.0.0.0", token_file="t", behind_proxy="https://farm.example"))


@pytest.mark.parametrize(
    "url", ["http://farm.example", "farm.example", "https://farm.example/farm"]
)
def test_a_proxy_has_an_address_with_tls(url: str) -> None:
    with pytest.raises(UserError, match="--behind-proxy"):
        _origins(Place(behind_proxy=url), 1)


def test_names_by_which_it_is_asked(tls: tuple[str, str]) -> None:
    def access(place: Place, port: int) -> Access:
        return Access((Key("ann", "t" * 32),), frozenset(_origins(place, port)), port)

    assert access(Place(), 8765).hosts == {"127.0.0.1:8765", "localhost:8765", "[::1]:8765"}
    assert not access(Place(), 8765).secure
    own = access(Place("0.0.0.0", certificate=tls[0], key=tls[1]), 443)
    assert own.origins == {"https://lab.example", "https://127.0.0.1"}
    assert {"lab.example", "lab.example:443"} <= own.hosts
    assert own.secure
    assert "; Secure" in own.set_cookie(own.keys[0])
    assert own.cookie_name.startswith("__Host-")
    proxy = access(Place(behind_proxy="https://Farm.Example:8443"), 1)
    assert proxy.origins == {"https://farm.example:8443"}
    assert origin("http", "::1", 80) == "http://[::1]"


def test_a_token_file_is_written_once_and_for_one_user(tmp_path: Path) -> None:
    file = tmp_path / "token"
    (key,) = keys_of(str(file))
    assert len(key.token) == 43
    assert key.who == person()
    assert keys_of(str(file)) == (key,)
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        keys_of(str(file))
    file.chmod(0o600)
    file.write_text(f"# lab\nann@lab {'a' * 32}\n\nbob@lab {'b' * 40}  # until May\n")
    assert keys_of(str(file)) == (Key("ann@lab", "a" * 32), Key("bob@lab", "b" * 40))
    for wrong in ("short", f"ann lab {'a' * 32}", "ann@lab short", f"é {'a' * 32}"):
        file.write_text(f"{'c' * 32}\n{wrong}\n")
        with pytest.raises(UserError, match=":2: expected a token of 32"):
            keys_of(str(file))
    file.write_text("# nobody\n")
    with pytest.raises(UserError, match="no token"):
        keys_of(str(file))


def test_without_the_extra_it_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.startswith("orchestrator.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette", None)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    assert main(["serve"]) == 2
    assert "pip install 'facefarm[serve]'" in capsys.readouterr().err


def test_a_port_that_is_taken_is_wrong_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "--port 0" in capsys.readouterr().err


def test_the_command_serves_over_tls_until_ctrl_c(tmp_path: Path, tls: tuple[str, str]) -> None:
    words = ["serve", "--port", "0", "--token-file", "token"]
    words += ["--tls-cert", tls[0], "--tls-key", tls[1]]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    running = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.main", *words],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout is not None
        link = re.search(r"https://lab\.example:(\d+)/$", running.stdout.readline().strip())
        assert link
        context = ssl.create_default_context(cafile=tls[0])
        asked = http.client.HTTPSConnection("127.0.0.1", int(link[1]), timeout=60, context=context)
        token = (tmp_path / "token").read_text().strip()
        asked.request("GET", "/now", headers={"Authorization": f"Bearer {token}"})
        found = asked.getresponse()
        assert found.status == 200
        assert "No run yet" in found.read().decode()
        asked.request("GET", f"/now?token={token}")
        found = asked.getresponse()
        assert found.headers["set-cookie"].endswith("; Secure")
        found.read()
    finally:
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert token not in out + err
