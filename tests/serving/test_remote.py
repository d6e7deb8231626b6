"""What a client may send and ask: over a real server on loopback."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from orchestrator.bundle.gathering import gather
from orchestrator.bundle.manifest import Limits
from orchestrator.errors import UserError
from orchestrator.events import EventReader
from orchestrator.remote.following import Follower, RunLost
from orchestrator.remote.link import Pauses
from orchestrator.remote.uploading import BATCH_BYTES, Frame, batches
from orchestrator.serving.jobs import Asked
from orchestrator.serving.protocol import PatientProtocol
from orchestrator.store.fleet_log import FleetLog
from orchestrator.store.going import going
from tests.faulty_proxy import Relay, Weather
from tests.patience import ENDS_S
from tests.reporting.made import Row, Size, make_run

from .client import bundle, link, nothing, raw, send
from .site import ANN, BOB, Site, serving

NAME, SHA = "0" * 64, "1" * 64
WRITES = (
    ("PUT", f"/bundles/{NAME}"),
    ("POST", f"/bundles/{NAME}/blobs"),
    ("POST", "/runs"),
    ("POST", "/runs/a/cancel"),
    ("POST", "/runs/a/resume"),
)
READS = ("", f"/bundles/{NAME}", f"/jobs/{'0' * 32}", "/runs/a", "/runs/a/events",
         "/runs/a/files/report.html")  # fmt: skip


@pytest.fixture
def takes(tmp_path: Path) -> Iterator[Site]:
    root = tmp_path / "server"
    root.mkdir()
    make_run(root, "a", [Row("vim3")], size=Size(40, 20))
    with serving(root, actions=True, limits=Limits(file=5_000_000, total=9_000_000, count=9)) as it:
        yield it


def uploads(site: Site) -> Path:
    return site.project.state / "uploads"


def test_only_what_is_missing_is_sent(takes: Site, tmp_path: Path) -> None:
    found = bundle(tmp_path / "client")
    sizes = found.manifest.blobs
    assert send(takes, found) == sum(sizes.values())
    assert send(takes, found) == 0
    (tmp_path / "client" / "matrix.yaml").write_text(
        (tmp_path / "client" / "matrix.yaml").read_text() + "# changed\n"
    )
    more = gather(tmp_path / "client" / "matrix.yaml")
    assert send(takes, more) == (tmp_path / "client" / "matrix.yaml").stat().st_size
    for path in uploads(takes).rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
        assert path.is_dir() or path.stat().st_mode & 0o111 == 0, "nothing can be executed"


def test_a_cut_upload_goes_on_where_it_was(
    takes: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pauses, "__init__", _quick)
    found = bundle(tmp_path / "client")
    whole = sum(found.manifest.blobs.values())
    with Relay(("127.0.0.1", takes.access.port), Weather(bytes_per_s=1e6)) as relay:
        done: list[int] = []
        sending = threading.Thread(target=lambda: done.append(send(takes, found, relay.port)))
        sending.start()
        end = time.monotonic() + ENDS_S
        for part in (1, 2):  # twice, each time with more of it there
            while _received(takes) < part * whole / 4 and time.monotonic() < end:
                time.sleep(0.01)
            relay.cut()
        came = _received(takes)
        relay.weather.bytes_per_s = None
        sending.join(ENDS_S)
    assert done, "it did not end"
    assert whole / 4 <= came < whole
    # A request that was cut is not counted: what is counted was sent behind what had come.
    assert done[0] <= whole - whole // 4
    assert link(takes).get(f"/bundles/{found.manifest.name}") == {"missing": []}
    assert send(takes, found) == 0


def _quick(self: Pauses, url: str, say: object) -> None:
    self._url, self._say, self._next = url, nothing, 0.02


def _received(site: Site) -> int:
    total = 0
    for path in uploads(site).rglob("*"):
        try:
            if path.is_file() and path.parent.name != "bundles":
                total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def test_bytes_of_another_hash_are_thrown_away(takes: Site, tmp_path: Path) -> None:
    found = bundle(tmp_path / "client", images=False)
    place = tmp_path / "client" / "matrix.yaml"
    sha256 = next(e.sha256 for e in found.manifest.entries if e.path == "matrix.yaml")
    text = place.read_text()
    place.write_text(text.replace("identities: 4", "identities: 5"))  # after it was hashed
    with pytest.raises(UserError, match="has another hash"):
        send(takes, found)
    assert not (uploads(takes) / "parts" / sha256).exists()
    assert not (uploads(takes) / "blobs" / sha256[:2] / sha256).exists()
    place.write_text(text)
    send(takes, found)
    assert (uploads(takes) / "blobs" / sha256[:2] / sha256).read_text() == text


def test_a_file_that_becomes_shorter_is_said(takes: Site, tmp_path: Path) -> None:
    found = bundle(tmp_path / "client", images=False)
    (tmp_path / "client" / "matrix.yaml").write_text("")
    with pytest.raises(UserError, match=r"matrix\.yaml became shorter"):
        send(takes, found)


def test_more_than_the_limits_is_refused(takes: Site, tmp_path: Path) -> None:
    found = bundle(tmp_path / "client")
    body = found.manifest.to_bytes()
    path = f"/bundles/{found.manifest.name}"
    with serving(takes.project.runs.parent, actions=True, limits=Limits(count=3)) as small:
        assert raw(small, "PUT", path, body)[0] == 422
    with serving(takes.project.runs.parent, actions=True, limits=Limits(total=100_000)) as small:
        status, said = raw(small, "PUT", path, body)
        assert status == 422
        assert "the server takes 100,000 for a run" in said["error"]
        assert "--max-upload" in said["hint"]
    assert raw(takes, "PUT", path, body)[0] == 200
    assert raw(takes, "POST", f"{path}/blobs", b"", Content_Length="99999999999")[0] == 413
    chunked = iter([b"x"])
    assert raw(takes, "POST", f"{path}/blobs", chunked)[0] == 413
    large = raw(takes, "POST", "/runs", Content_Length="300000")
    assert large[0] == 413, "only bundles are large"


def test_what_is_no_content_of_the_bundle_is_refused(takes: Site, tmp_path: Path) -> None:
    found = bundle(tmp_path / "client", images=False)
    sha256, size = next(iter(found.manifest.blobs.items()))
    path = f"/bundles/{found.manifest.name}"
    assert raw(takes, "POST", f"{path}/blobs", b"")[0] == 404, "its list was not sent"
    assert raw(takes, "PUT", path, found.manifest.to_bytes())[0] == 200
    for body in (
        f"{SHA} 0 1\nx".encode(),
        b"../../../etc/x 0 1\nx",
        f"{sha256} 0 {size + 1}\n".encode() + b"x" * (size + 1),
        f"{sha256} -1 1\nx".encode(),
        f"{sha256} 0 9".encode(),
        f"{sha256} 0 ²\nx".encode(),
        f"{sha256} 0 {size}\n".encode() + b"x",
        b"x" * 500,
        b"\n",
    ):
        assert raw(takes, "POST", f"{path}/blobs", body)[0] == 422, body[:100]
    assert raw(takes, "POST", f"{path}/blobs", f"{sha256} 5 1\nx".encode())[0] == 409
    assert raw(takes, "PUT", f"/bundles/{NAME}", found.manifest.to_bytes())[0] == 400
    for name in ("..%2f..%2fx", "x", NAME.upper() + "x", "..."):
        assert raw(takes, "GET", f"/bundles/{name}")[0] == 404
    evil = json.dumps({"version": 1, "matrix": "m", "folders": [], "files": [["../m", SHA, 1]]})
    assert raw(takes, "PUT", path, evil.encode())[0] == 422
    written = {p.relative_to(uploads(takes)).parts[0] for p in uploads(takes).rglob("*")}
    assert written <= {"bundles", "parts"}


@pytest.mark.parametrize(("method", "path"), [*WRITES, *(("GET", path) for path in READS)])
def test_only_the_header_with_the_token_lets_programs_in(
    takes: Site, method: str, path: str
) -> None:
    assert raw(takes, method, path, Authorization="Bearer wrong")[0] == 401
    cookie = takes.cookie["Cookie"]
    own = f"http://{takes.host}"
    status, _ = raw(takes, method, path, Authorization="", Cookie=cookie, Origin=own)
    assert status in (401, 403), "no page can send one"
    assert raw(takes, method, path, Host="evil.example")[0] == 421
    assert raw(takes, method, path, Origin="https://evil.example")[0] == 403


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_without_actions_nothing_is_taken(site: Site, method: str, path: str) -> None:
    status, said = raw(site, method, path)
    assert status == 403
    assert "farm serve --allow-actions" in said["error"]
    assert link(site).about()["actions"] is False


def test_wrong_tokens_are_answered_ever_slower_and_the_right_one_at_once(
    takes: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.serving.guard.WRONG_PAUSE_S", 0.05)
    answers = [raw(takes, "GET", "", Authorization="Bearer wrong")[0] for _ in range(23)]
    assert answers == [401] * 20 + [429] * 3
    assert raw(takes, "GET", "")[0] == 200
    assert takes.get("/runs", admitted=False).status == 401, "without a token nothing is guessed"


def test_an_upload_may_take_its_time_but_must_go_on(
    takes: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientProtocol, "patience_s", 0.3)
    monkeypatch.setattr(PatientProtocol, "least_bytes", 0)  # however slow this machine is
    found = bundle(tmp_path / "client", images=False)
    path = f"/bundles/{found.manifest.name}"
    assert raw(takes, "PUT", path, found.manifest.to_bytes())[0] == 200
    sha256, size = max(found.manifest.blobs.items(), key=lambda each: each[1])
    head = f"{sha256} 0 {size}\n".encode()
    request = (
        f"POST /api/v1{path}/blobs HTTP/1.1\r\nHost: {takes.host}\r\nAuthorization: Bearer "
        f"{takes.token}\r\nContent-Length: {len(head) + size}\r\n\r\n"
    ).encode() + head
    content = found.contents[sha256]
    data = content if isinstance(content, bytes) else content.read_bytes()
    with takes.connect() as steady:
        steady.sendall(request)
        for i in range(8):  # longer than the patience, but enough each time
            steady.sendall(data[2000 * i : 2000 * (i + 1)])
            time.sleep(0.1)
        steady.sendall(data[16_000:])
        assert b" 200 " in steady.recv(4096)
    monkeypatch.setattr(PatientProtocol, "least_bytes", 1 << 30)
    other = next(each for each in found.manifest.blobs.items() if each[0] != sha256)
    slow = request.replace(head, f"{other[0]} 0 {other[1]}\n".encode())
    with takes.connect() as drops:
        drops.sendall(slow)
        assert _closed_while(drops, b"x")
    with takes.connect() as stranger:  # whose token is wrong has no time at all
        stranger.sendall(request.replace(takes.token.encode(), b"0" * len(takes.token)))
        assert _closed_while(stranger, b"x" * 2000)


def _closed_while(bare: socket.socket, data: bytes) -> bool:
    """Whether the server closes while something is sent now and then."""
    end = time.monotonic() + ENDS_S
    try:
        while time.monotonic() < end:
            bare.sendall(data)
            bare.settimeout(0.05)
            try:
                if not bare.recv(4096):
                    return True
            except TimeoutError:
                continue
    except OSError:
        return True
    return False


def test_a_run_that_cannot_be_planned_says_why_and_is_in_the_fleet_log(
    takes: Site, tmp_path: Path
) -> None:
    found = bundle(tmp_path / "client", images=False)
    asked = {"id": "a" * 32, "bundle": found.manifest.name, "called": "my/matrix.yaml"}
    send(takes, found)
    status, stand = raw(takes, "POST", "/runs", json.dumps(asked).encode())
    assert status == 200
    again = raw(takes, "POST", "/runs", json.dumps(asked).encode())[1]
    assert again["run"] == stand["run"], "asked again after a cut, it is the same run"
    end = time.monotonic() + ENDS_S
    while stand["state"] == "planning" and time.monotonic() < end:
        stand = raw(takes, "GET", f"/jobs/{'a' * 32}?wait=20")[1]
    assert (stand["state"], stand["exit_code"]) == ("refused", 2)
    assert stand["said"].startswith("matrix.yaml:4: "), stand["said"]
    assert "this-host" in stand["said"], "the server's inventory has no such board"
    log = [(e.event, e.by, e.reason) for e in FleetLog(takes.project.runs).entries()]
    assert log == [("asked", ANN, "a run of my/matrix.yaml, sent from elsewhere")]
    assert raw(takes, "GET", f"/jobs/{'b' * 32}")[0] == 404


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"id": "x", "bundle": NAME},
        {"id": "../" * 11, "bundle": NAME},
        {"id": "a" * 32, "bundle": "../x"},
        {"id": "a" * 32, "bundle": NAME, "only": "x"},
        {"id": "a" * 32, "bundle": NAME, "only": [1]},
        {"id": "a" * 32, "bundle": NAME, "limit": "5"},
        {"id": "a" * 32, "bundle": NAME, "limit": True},
    ],
)
def test_what_asks_for_no_run_is_refused(takes: Site, fields: dict[str, object]) -> None:
    assert raw(takes, "POST", "/runs", json.dumps(fields).encode())[0] == 400
    assert not (uploads(takes) / "jobs").exists()


def test_a_log_is_followed_through_cuts_to_its_end(
    takes: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pauses, "__init__", _quick)
    there = takes.project.runs / "a" / "events.jsonl"
    lines = there.read_bytes().splitlines(keepends=True)
    there.write_bytes(b"".join(lines[:2]))
    folder = tmp_path / "here" / "a"
    folder.mkdir(parents=True)
    with going(there.parent), Relay(("127.0.0.1", takes.access.port)) as relay:
        follower = Follower(link(takes, relay.port), folder, nothing)
        came = follower.new()
        for number, line in enumerate(lines):
            if number >= 2:
                with open(there, "ab") as file:
                    file.write(line)
            event = next(came)
            if number == 3:
                relay.cut()
        assert event.event == "run_finished"
        (folder / "events.jsonl").open("ab").write(b'{"torn')  # this client was ended here
        again = Follower(link(takes), folder, nothing)
        assert len(list(again.known())) == len(lines)
    assert list(again.new()) == []
    assert (folder / "events.jsonl").read_bytes() == there.read_bytes()


def test_a_run_that_nobody_carries_on_is_said(takes: Site, tmp_path: Path) -> None:
    make_run(takes.project.runs.parent, "b", [Row("vim3")], size=Size(40, 20), finish=False)
    folder = tmp_path / "b"
    folder.mkdir()
    with pytest.raises(RunLost, match="farm resume b"):
        list(Follower(link(takes), folder, nothing).new())
    (folder / "events.jsonl").write_bytes(b"x" * 999_999 + b"\n")
    with pytest.raises(UserError, match="not the one of which"):
        list(Follower(link(takes), folder, nothing).new())


@pytest.mark.parametrize("name", ["..", "%2e%2e", "latest", "fleet.jsonl", "a%00", "link"])
def test_no_name_of_a_run_leads_elsewhere(takes: Site, name: str) -> None:
    (takes.project.runs / "link").symlink_to(takes.project.runs / "a")
    found = raw(takes, "GET", f"/runs/{name}/events?offset=999999999")
    assert found[0] == (409 if name == "latest" else 404)
    assert raw(takes, "GET", "/runs/a/files/request.json")[0] == 404
    assert raw(takes, "GET", "/runs/a/files/..%2f..%2fsecret")[0] == 404


def test_batches_are_small_enough_and_whole() -> None:
    missing = [("a", 3 * BATCH_BYTES + 5, 7), ("b", 0, 0), *((str(i), 1, 0) for i in range(5000))]
    found = list(batches(missing))
    assert all(sum(frame.length for frame in batch) <= BATCH_BYTES for batch in found)
    parts: dict[str, list[Frame]] = {}
    for frame in (frame for batch in found for frame in batch):
        parts.setdefault(frame.sha256, []).append(frame)
    assert len(parts) == len(missing)
    for sha256, size, offset in missing:
        for frame in parts[sha256]:
            assert frame.offset == offset
            offset += frame.length
        assert offset == size
    assert all(frame.head for batch in found for frame in batch)


def test_results_are_given_to_whoever_sent_the_run(takes: Site) -> None:
    run = takes.project.runs / "a"
    row = next(e for e in EventReader(run / "events.jsonl").new() if e.event == "cell_finished")
    key = row.result["provenance"]["keys"]["score"]
    path = f"/runs/a/held/score/{key}"
    assert raw(takes, "GET", path)[0] == 404, "nobody sent it"
    for number, who in (("1", ANN), ("2", BOB)):
        job = uploads(takes) / "jobs" / (number * 32)
        job.mkdir(parents=True, exist_ok=True)
        asked = Asked("", "a" if who == ANN else "b", "matrix.yaml", who)
        (job / "job.json").write_text(json.dumps(asdict(asked)))
    status, found = raw(takes, "GET", path)
    assert status == 200
    assert "manifest.json" in found["files"]
    assert raw(takes, "GET", f"{path}/manifest.json")[0] == 200
    other = takes.access.keys[1].token
    assert raw(takes, "GET", path, Authorization=f"Bearer {other}")[0] == 404
    for wrong in (f"{path}/..%2fx", f"{path}/x", f"/runs/a/held/extract/{key}",
                  f"/runs/a/held/score/{'0' * 64}", "/runs/a/held/score/..%2f.."):  # fmt: skip
        assert raw(takes, "GET", wrong)[0] == 404
