"""What goes wrong before a run begins elsewhere: wrong input (exit 2), and what to type next."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.bundle.wire import PROTOCOL
from orchestrator.cli.main import main
from orchestrator.errors import UserError
from orchestrator.remote import address
from orchestrator.remote.address import find_server
from tests.bundle.made import faces, matrix

from .site import Site, serving


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nothing but a matrix; no token anywhere."""
    monkeypatch.delenv(address.VARIABLE, raising=False)
    folder = tmp_path / "laptop"
    matrix(folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    root = tmp_path / "server"
    root.mkdir()
    with serving(root, actions=True) as found:
        yield found


def farm(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(list(words))
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out + said.err


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("farm.example.org", "no address of a farm server"),
        ("ftp://farm.example.org", "no address of a farm server"),
        ("http://", "no address of a farm server"),
        ("https://a:b@farm.example.org", "no address of a farm server"),
        ("https://farm.example.org:x", "no address of a farm server"),
        ("https://farm.example.org/runs", "its address has no path"),
        ("http://farm.example.org", "ssh -L 8765:127.0.0.1:8765 farm.example.org"),
        ("https://farm.example.org", "FARM_TOKEN=TOKEN"),
    ],
)
def test_a_wrong_address(
    here: Path, capsys: pytest.CaptureFixture[str], link: str, words: str
) -> None:
    code, said = farm(capsys, "run", "--remote", f"{link}?x=1" if link == "x" else link)
    assert code == 2
    assert words in said


def test_the_token_comes_from_link_file_or_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(address.VARIABLE, raising=False)
    file = tmp_path / "token"
    file.write_text("# mine\nann@lab secret1\nbob@lab other\n")
    file.chmod(0o600)
    url = "http://localhost:8765"
    assert find_server(f"{url}/?token=abc", "", {}).token == "abc"
    assert find_server(url, str(file), {}).token == "secret1"
    assert find_server(url, "", {"FARM_TOKEN": "def"}).token == "def"
    assert find_server(f"{url}/?token=abc", "", {"FARM_TOKEN": "def"}).token == "abc"
    assert "abc" not in repr(find_server(f"{url}/?token=abc", "", {}))
    with pytest.raises(UserError, match="leave one of them out"):
        find_server(f"{url}/?token=abc", str(file), {})
    file.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        find_server(url, str(file), {})
    with pytest.raises(UserError, match="No such file"):
        find_server(url, str(tmp_path / "none"), {})
    for token in ("a\nb", "é", "a\rX-Other: 1"):
        with pytest.raises(UserError, match="a character that no token has"):
            find_server(url, "", {"FARM_TOKEN": token})


def test_nobody_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    code, said = farm(capsys, "run", "--remote", f"http://127.0.0.1:{port}/?token=abc")
    assert code == 2
    assert "no server answers (Connection refused)" in said or "Connection refused" in said
    assert "farm serve --allow-actions" in said
    assert "abc" not in said


def test_a_wrong_token(here: Path, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = farm(capsys, "run", "--remote", f"http://{site.host}/?token=wrong")
    assert code == 2
    assert "does not know this token" in said
    assert "--token-file FILE" in said


def test_a_server_that_only_shows(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path) as only_shows:
        link = f"http://{only_shows.host}/?token={only_shows.token}"
        code, said = farm(capsys, "run", "--remote", link)
    assert code == 2
    assert "farm serve --allow-actions" in said
    assert only_shows.token not in said


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that is none of farm's."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{found.server_port}/?token=abc"
        finally:
            found.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b"<html>not found</html>", "no farm server that takes runs"),
        (200, b"<html>hello</html>", "no farm server that takes runs"),
        (302, b"", "no farm server that takes runs"),
        (200, b"[1]", "no farm server that takes runs"),
        (200, b"{}", "(protocol ?); this farm speaks protocol"),
        (200, json.dumps({"farm": "9.0", "protocol": PROTOCOL + 1}).encode(),
         f"farm 9.0 (protocol {PROTOCOL + 1}); this farm speaks protocol {PROTOCOL}"),
    ],
)  # fmt: skip
def test_another_server_or_version(
    here: Path, capsys: pytest.CaptureFixture[str], status: int, body: bytes, words: str
) -> None:
    with answering(status, body) as link:
        code, said = farm(capsys, "run", "--remote", link)
    assert code == 2
    assert words in said


def test_a_certificate_that_is_not_trusted(
    here: Path,
    tmp_path: Path,
    tls: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(tmp_path, actions=True, tls=tls) as site:
        link = f"https://{site.host}/?token={site.token}"
        code, said = farm(capsys, "run", "--remote", link)
        assert code == 2
        assert "does not trust its certificate" in said
        assert "SSL_CERT_FILE=" in said
        plain, said = farm(capsys, "run", "--remote", link.replace("https://", "http://"))
        assert plain == 2
        monkeypatch.setenv("SSL_CERT_FILE", tls[0])
        code, said = farm(capsys, "run", "nothing.yaml", "--remote", link)
        assert "nothing.yaml: no such file" in said, "it is trusted now"


@pytest.mark.parametrize("option", ["--inventory", "--state", "--ray-address"])
def test_what_is_of_this_computer_is_not_for_a_server(
    here: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    code, said = farm(capsys, "run", "--remote", "https://farm.example.org", option, "x:1")
    assert code == 2
    assert f"{option} is of this computer" in said


def test_a_matrix_that_is_wrong_is_refused_before_anything_is_sent(
    here: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    link = f"http://{site.host}/?token={site.token}"
    faces(here / "faces")
    for rest, words in (
        ("test_set: {folder: nowhere}\n", "nowhere"),
        ("test_set: {list: nowhere.csv}\n", "nowhere.csv: no such list"),
        ("tset_set: {rendered: {identities: 4}}\n", "unknown key 'tset_set'"),
    ):
        matrix(here, rest=rest)
        code, said = farm(capsys, "run", "--remote", link)
        assert code == 2
        assert words in said
    text = (here / "matrix.yaml").read_text()
    (here / "matrix.yaml").write_text(
        text.replace("tset_set", "test_set").replace(
            "quantization: float32", "quantization: float32, toolchain: evil"
        )
    )
    code, said = farm(capsys, "run", "--remote", link)
    assert code == 2
    assert "matrix.yaml:4: entries.toolchain: 'evil' is a plug-in" in said
    assert not (here / "runs").exists()
    assert not (site.project.state / "uploads").exists()


def test_runs_and_names_that_are_nowhere(
    here: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    link = f"http://{site.host}/?token={site.token}"
    for command in ("watch", "resume", "cancel"):
        code, said = farm(capsys, command, "20260101-none", "--remote", link)
        assert code == 2
        assert "no run '20260101-none'" in said or "no such run" in said
    code, said = farm(capsys, "cancel", "20260101-none")
    assert code == 2
    assert "there is no run" in said
