"""Who may not ask is refused; what others wrote harms no page; no client holds the server up."""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path

import pytest

from orchestrator.events import BoardChanged, EventLog, Note, StepFailed, StepProgress, Telemetry
from orchestrator.serving.protocol import PatientProtocol
from orchestrator.store.fleet_entries import Checked, Described, Drained, Proof
from orchestrator.store.fleet_log import FleetLog
from tests.reporting.made import Row, Size, make_run

from .site import Page, Site, serving

PAGES = (
    "/now",
    "/runs",
    "/runs/20260102-000000-bbbb",
    "/runs/20260102-000000-bbbb/report",
    "/runs/20260102-000000-bbbb/row?name=vim3",
    "/runs/20260102-000000-bbbb/results.json",
    "/live?run=20260102-000000-bbbb",
    "/compare?a=20260101-000000-aaaa&b=20260102-000000-bbbb",
    "/trends",
    "/trends?row=vim3",
    "/plan",
    "/boards",
    "/boards/vim3",
    "/static/live.js",
    "/nowhere",
)


@pytest.mark.parametrize("path", ["/", *PAGES])
def test_without_a_token_nothing_is_shown(site: Site, path: str) -> None:
    found = site.get(path, admitted=False)
    assert found.status == 401
    assert "bbbb" not in found.text
    assert "set-cookie" not in found.headers


@pytest.mark.parametrize("wrong", ["", "x", "é", "0" * 43])
def test_a_wrong_token_is_none(site: Site, wrong: str) -> None:
    for found in (
        site.get(f"/now?token={wrong.encode().hex()}", admitted=False),
        site.get("/now", admitted=False, Authorization=f"Bearer {wrong.encode().hex()}"),
        site.get("/now", admitted=False, Cookie=f"{site.access.cookie_name}=0123{'0' * 60}"),
        # The token itself is no cookie: a stolen cookie does not tell it, nor does it make one.
        site.get("/now", admitted=False, Cookie=f"{site.access.cookie_name}={site.token}"),
    ):
        assert found.status == 401
        assert "set-cookie" not in found.headers


def test_the_link_stores_a_cookie_and_leaves_the_address(site: Site) -> None:
    found = site.get(f"/runs?q=a&token={site.token}&page=1", admitted=False)
    assert (found.status, found.headers["location"]) == (303, "/runs?q=a&page=1")
    stored = found.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(stored.split("; "))
    assert site.token not in stored
    assert site.get("/runs", admitted=False, Cookie=stored.partition(";")[0]).status == 200
    bearer = f"Bearer {site.token}"
    assert site.get("/runs", admitted=False, Authorization=bearer).status == 200


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "//evil.example/%2e%2e"])
def test_the_link_leads_to_no_other_server(site: Site, path: str) -> None:
    found = site.get(f"{path}?token={site.token}", admitted=False)
    assert found.status == 303
    assert re.match(r"/[^/\\]", found.headers["location"])


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "", "localhost.evil:80"]
)
def test_another_host_is_a_rebound_name(site: Site, host: str) -> None:
    assert site.get("/runs", Host=host).status == 421
    assert site.get(f"/runs?token={site.token}", admitted=False, Host=host).status == 421


def test_another_origin_may_not_ask(site: Site) -> None:
    for origin in ("https://evil.example", "null", f"https://{site.host}", "http://127.0.0.1:1"):
        assert site.get("/runs", Origin=origin).status == 403
    assert site.get("/runs", Origin=f"http://{site.host}").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(site: Site, method: str) -> None:
    own = f"http://{site.host}"
    for path in (*PAGES[:-1], "/boards/vim3/drain", "/run"):
        refused = (403,) if (method, path) == ("POST", "/plan") else (404, 405)
        assert site.get(path, method=method, Origin=own).status in refused
        assert site.get(path, method=method).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/runs/../../etc/passwd",
        "/runs/%2e%2e/%2e%2e/etc/passwd",
        "/runs/..%2f..%2fetc%2fpasswd",
        "/runs/20260102-000000-bbbb/../fleet.jsonl",
        "/runs/20260102-000000-bbbb/%2e%2e%2ffleet.jsonl",
        "/runs/20260102-000000-bbbb/events.jsonl",
        "/runs/20260102-000000-bbbb/request.json",
        "/runs/latest",
        "/runs//etc",
        "/runs/.",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/static/vendor/README.md",
        "/boards/..%2f..%2fetc%2fpasswd",
        "/runs/a%00b",
        "/live?run=../../etc",
        "/compare?a=../../etc&b=../..",
        "/trends?row=../etc/passwd",
        "/plan?matrix=../../etc/passwd",
        "/plan?matrix=/etc/passwd",
    ],
)
def test_no_path_leads_elsewhere(site: Site, path: str) -> None:
    found = site.get(path)
    assert found.status == 404
    assert "root:" not in found.text


def test_a_link_in_place_of_a_run_or_file_is_not_followed(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a", [Row("vim3")], size=Size(40, 20))
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder / "table.md").symlink_to(secret)
    (tmp_path / "runs" / "b").symlink_to(folder)
    with serving(tmp_path) as site:
        assert site.get("/runs/a").status == 200
        assert site.get("/runs/a/table.md").status == 404
        assert site.get("/runs/b").status == 404


def test_what_is_too_large_is_refused(site: Site) -> None:
    assert site.get("/runs?q=" + "x" * 5000).status == 414
    assert (
        site.get(
            "/runs", method="POST", Content_Length="99999999", Origin=f"http://{site.host}"
        ).status
        == 413
    )
    assert site.get("/runs", Content_Length="1e9").status in (400, 413)
    with site.connect() as bare:  # of unknown length
        head = f"GET /runs HTTP/1.1\r\nHost: {site.host}\r\nTransfer-Encoding: chunked\r\n\r\n"
        bare.sendall(head.encode())
        assert b" 413 " in bare.recv(4096)
    with site.connect() as bare:
        line = b"x" * 1000
        try:
            bare.sendall(b"GET / HTTP/1.1\r\n")
            for number in range(1000):
                bare.sendall(b"h%d: %s\r\n" % (number, line))
            answer = bare.recv(4096)
        except OSError:
            answer = b""  # cut off while it sent
        assert answer == b"" or b" 400 " in answer


def test_whoever_sends_slowly_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "patience_s", 0.2)
    begun = (
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: x\r\nh: ",
        f"POST /runs HTTP/1.1\r\nHost: {site.host}\r\nContent-Length: 10\r\n\r\nx".encode(),
        f"GET /runs HTTP/1.1\r\nHost: {site.host}\r\n\r\nGET /ru".encode(),
    )
    slow = []
    for text in begun:
        bare = site.connect()
        bare.sendall(text)
        slow.append(bare)
    assert site.get("/runs").status == 200
    for bare in slow:
        with bare:
            assert _until_closed(bare)


def test_whoever_does_not_read_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "patience_s", 0.3)
    before = site.connections
    with site.connect() as bare:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"Host: {site.host}\r\nCookie: {site.cookie['Cookie']}\r\n\r\n"
        bare.sendall(f"GET /static/vendor/vega.min.js HTTP/1.1\r\n{head}".encode() * 20)
        while site.connections <= before:
            time.sleep(0.01)
        while site.connections > before:
            time.sleep(0.01)


def _until_closed(bare: socket.socket) -> bool:
    try:
        while bare.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_many_requests_and_broken_off_ones_leave_it_well(site: Site) -> None:
    for _ in range(300):
        with site.connect() as bare:
            bare.sendall(b"GET /runs HTTP/1.1\r\n")
    asked = f"GET /runs HTTP/1.1\r\nHost: {site.host}\r\n\r\n".encode()
    with site.connect() as bare:  # one after the other without waiting for an answer
        bare.sendall(asked * 200)
        said = b""
        while said.count(b"HTTP/1.1 401") < 200:
            more = bare.recv(65536)
            assert more, said.count(b"HTTP/1.1 401")
            said += more
    assert site.get("/runs").status == 200


def test_every_answer_has_the_policy(site: Site) -> None:
    for path in PAGES:
        for admitted in (True, False):
            if path.startswith("/live") and admitted:
                continue
            headers = site.get(path, admitted=admitted).headers
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'")
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert "server" not in headers
            stored = "immutable" if path.startswith("/static") and admitted else "no-store"
            assert stored in headers["cache-control"]


EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"' "
    "\x1b[31mred\x1b]0;title\x07\x00\u202eback{{7*7}}"
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run and a fleet whose boards say what would do harm."""
    root = tmp_path_factory.mktemp("hostile")
    rows = [
        Row("ref", EVIL, EVIL, reference=True),
        Row(f"row {EVIL}", EVIL, "vim3"),
        Row("lost", EVIL, EVIL, fails=EVIL),
    ]
    folder = make_run(root, "evil", rows, size=Size(40, 20), finish=False)
    log = EventLog(folder / "events.jsonl")
    board = {"board": "vim3", "executed_by": "board"}
    step = {"step": f"measure/{EVIL}", "board": EVIL}
    for event in (
        BoardChanged(state="unfit", reason=EVIL, facts={"cpu": EVIL}, **board),
        Note(level="error", message=EVIL, board=EVIL),
        StepFailed(stage="measure", error="board", message=EVIL, hint=EVIL, retry=True, **step),
        StepProgress(done=1, total=2, unit=EVIL, note=EVIL, **step),
        Telemetry(board=EVIL, temperature_c=40.0),
    ):
        log.append(event)
    log.close()
    fleet = FleetLog(root / "runs")
    proof = Proof(runtime=EVIL, proved=False, version=EVIL, provider=EVIL, reason=EVIL)
    said = Described(
        board=EVIL, contradicts=EVIL, emulator=EVIL, unseen=(EVIL,), mismatches=(EVIL,)
    )
    fleet.append(
        Checked(
            board="vim3",
            by=EVIL,
            identity="x",
            state="quarantined",
            reason=EVIL,
            proofs=(proof,),
            versions={EVIL: EVIL},
            temperature_c=50.0,
            described=said,
        )
    )
    fleet.append(Drained(board="jetson", by=EVIL, reason=EVIL))
    return root


@pytest.fixture(scope="module")
def evil(hostile: Path) -> object:
    with serving(hostile) as found:
        yield found


def harmless(text: str) -> None:
    page = Page(text)
    assert page.inline == []
    assert page.handlers == []
    assert "img" not in page.elements
    assert all(source.startswith("/static/") for source in page.scripts)
    assert all(link.startswith(("/", "#")) for link in page.links), page.links
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "49" not in re.findall(r"back([^<&]*)", text)


@pytest.mark.parametrize(
    "path", ["/now", "/runs", "/runs/evil", "/boards", "/boards/vim3", "/boards/jetson", "/trends"]
)
def test_what_a_board_says_stays_text(evil: Site, path: str) -> None:
    found = evil.get(path)
    assert found.status == 200
    harmless(found.text)
    if path not in ("/runs",):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in found.text


def test_what_a_board_says_stays_text_in_a_row_and_in_events(evil: Site) -> None:
    from urllib.parse import quote

    harmless(evil.get("/runs/evil/row?name=" + quote(f"row {EVIL}")).text)
    harmless(evil.get("/trends?row=" + quote(f"row {EVIL}")).text)
    harmless(evil.get("/trends?row=" + quote(EVIL)).text)
    harmless(evil.get("/compare?a=evil&b=evil").text)
    harmless(evil.get("/plan?matrix=" + quote(EVIL)).text)
    harmless(evil.get("/runs?q=" + quote(EVIL) + "&first=" + quote(EVIL)).text)
    harmless(evil.get("/boards?q=" + quote(EVIL)).text)
    harmless(evil.get("/runs/" + quote(EVIL)).text)
    with evil.stream("/live?run=evil") as events:
        _, data = next(events)
    parts = json.loads(data)
    assert {"summary", "table", "log", "tile-0", "host"} <= set(parts)
    for text in parts.values():
        harmless(text)


def test_the_report_of_hostile_boards_is_served_under_its_own_policy(evil: Site) -> None:
    found = evil.get("/runs/evil/report")
    assert found.status == 200
    assert "<img" not in found.text
    assert "<script>alert" not in found.text
    hashes = re.findall(r"'sha256-[^']+'", found.headers["content-security-policy"])
    assert len(hashes) == found.text.count("<style>") + len(re.findall(r"<script>", found.text))
