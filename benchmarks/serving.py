"""`farm serve` with many runs, boards and viewers: how long pages take, and what the server costs.

`python -m benchmarks serving` records 2,000 runs of eight rows, one that goes on with 200 boards,
and has 50 viewers look at it. Times are this computer's; goals are in brackets.
"""

from __future__ import annotations

import http.client
import os
import re
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from orchestrator.events import (
    BoardChanged,
    CellInfo,
    EventLog,
    RunStarted,
    StepInfo,
    StepProgress,
    StepStarted,
    Telemetry,
)
from orchestrator.store.going import going
from tests.reporting.made import Row, Size, make_run

RUNS, ROWS, BOARDS, VIEWERS = 2000, 8, 200, 50
WATCHED_S = 20.0
PERIOD_S = 2.0  # between two reports of a board's step
TICK = os.sysconf("SC_CLK_TCK")


def record(root: Path) -> None:
    """So many runs, and an inventory of so many boards."""
    lines = [f"  - {{name: b{n}, kind: khadas-vim3, transport: emulated}}" for n in range(BOARDS)]
    (root / "device_inventory.yaml").write_text("\n".join(["boards:", *lines]) + "\n")
    rows = [Row(f"row{n}", board=f"b{n}", lot=n, time_lot=n) for n in range(ROWS)]
    first = make_run(root, "first", rows, size=Size(100, 40))
    text = (first / "events.jsonl").read_text()
    for number in range(1, RUNS):
        folder = root / "runs" / f"run-{number:05}"
        folder.mkdir()
        later = text.replace('"at":17', f'"at":{17 + number // 1000}')  # starts differ
        named = later.replace('"run":"first"', f'"run":"{folder.name}"')
        (folder / "events.jsonl").write_text(named)


def live(folder: Path) -> EventLog:
    """A run that goes on: each board does one long step."""
    folder.mkdir()
    log = EventLog(folder / "events.jsonl")
    names = [f"b{number}" for number in range(BOARDS)]
    log.append(
        RunStarted(
            run="live",
            farm="0",
            matrix="matrix.yaml",
            inventory="device_inventory.yaml",
            matrix_sha256="0" * 64,
            cells=tuple(
                CellInfo(name=name, hardware="A311D", board=name, executed_by="board")
                for name in names
            ),
            steps=tuple(
                StepInfo(
                    id=f"measure/{name}", stage="measure", board=name, cells=(name,), seconds=99
                )
                for name in names
            ),
            boards=tuple(names),
        )
    )
    for name in names:
        log.append(BoardChanged(board=name, state="busy", executed_by="board"))
        log.append(StepStarted(step=f"measure/{name}", stage="measure", board=name))
    return log


class Server:
    """`farm serve` in a process of its own."""

    def __init__(self, root: Path) -> None:
        begun = time.perf_counter()
        words = [sys.executable, "-m", "orchestrator.cli.main", "serve", "--port", "0"]
        self.process = subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        while not (found := re.search(r":(\d+)/\?token=(\S+)", self.process.stdout.readline())):
            assert self.process.poll() is None
        self.port, self.token = int(found[1]), found[2]
        self.get("/runs")
        self.ready_s = time.perf_counter() - begun

    def get(self, path: str) -> tuple[float, int]:
        """Seconds that a page takes, and its bytes."""
        begun = time.perf_counter()
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        asked.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        found = asked.getresponse()
        size = len(found.read())
        assert found.status == 200, (path, found.status)
        asked.close()
        return time.perf_counter() - begun, size

    def stream(self) -> socket.socket:
        """A viewer of the live run."""
        viewer = socket.create_connection(("127.0.0.1", self.port))
        head = f"Host: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.token}\r\n\r\n"
        viewer.sendall(f"GET /live?run=live&now=1 HTTP/1.1\r\n{head}".encode())
        return viewer

    def cpu_s(self) -> float:
        """CPU seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / TICK

    def memory_mb(self) -> float:
        """Resident memory."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1]) / 1024


def pages(server: Server) -> None:
    """Each page, opened ten times."""
    for path in (
        "/runs",
        "/runs?q=row3",
        "/now",
        "/boards",
        "/boards/b7",
        "/trends",
        "/trends?row=row3",
    ):
        taken = [server.get(path) for _ in range(10)]
        seconds = sorted(each for each, _ in taken)
        goal = " (goal < 0.5 s)" if path == "/runs" else ""
        print(
            f"serving {path}: median {statistics.median(seconds):.3f} s, "
            f"slowest {seconds[-1]:.3f} s, {taken[-1][1] / 1024:.0f} KiB{goal}",
            flush=True,
        )


def watched(server: Server, log: EventLog) -> None:
    """Viewers of a run whose boards report: how late events come, and the server's CPU."""
    selector = selectors.DefaultSelector()
    text = {}
    for _ in range(VIEWERS):
        viewer = server.stream()
        viewer.setblocking(False)
        text[viewer] = bytearray()
        selector.register(viewer, selectors.EVENT_READ)
    sent: dict[int, float] = {}
    late: list[float] = []
    done, next_at = 0, time.perf_counter() + 2.0
    begun_at = next_at + 2.0
    cpu = received = 0.0
    while (now := time.perf_counter()) < begun_at + WATCHED_S:
        if not cpu and now >= begun_at:
            cpu, received = server.cpu_s(), 0.0
        if now >= next_at:
            number = done % BOARDS
            next_at += PERIOD_S / BOARDS
            done += 1
            name = f"b{number}"
            step = {"step": f"measure/{name}", "board": name}
            log.append(StepProgress(done=done, total=10**6, unit="inferences", **step))
            sent[done] = time.perf_counter()
            if number % 4 == 0:
                log.append(Telemetry(board=name, temperature_c=40 + done % 30, clock_mhz=1800.0))
        for key, _ in selector.select(max(0.0, min(0.01, next_at - time.perf_counter()))):
            viewer = key.fileobj
            assert isinstance(viewer, socket.socket)
            data = viewer.recv(1 << 20)
            received += len(data)
            text[viewer] += data
            *whole, rest = bytes(text[viewer]).split(b"\n\n")
            text[viewer] = bytearray(rest)
            at = time.perf_counter()
            if at < begun_at:
                continue
            for message in whole:
                for found in re.findall(rb"([\d,]+) of 1,000,000", message):
                    late.append(at - sent[int(found.replace(b",", b""))])
    used = (server.cpu_s() - cpu) / WATCHED_S
    late.sort()
    print(
        f"serving {VIEWERS} viewers, {BOARDS} boards, {BOARDS / PERIOD_S:.0f} reports/s: "
        f"event on the page after {statistics.median(late):.2f} s, slowest "
        f"{late[-1]:.2f} s (goal < 1 s); {100 * used:.0f} % of a core (goal < 10 %); "
        f"{received / WATCHED_S / 1024:.0f} KiB/s; {server.memory_mb():.0f} MiB"
    )
    for viewer in text:
        viewer.close()


def main() -> None:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        record(root)
        log = live(root / "runs" / "live")
        with going(root / "runs" / "live"):
            for which in ("first", "second"):
                server = Server(root)
                print(f"serving start, {which} time: {server.ready_s:.1f} s", flush=True)
                if which == "first":
                    server.process.send_signal(signal.SIGINT)
                    server.process.wait()
            try:
                pages(server)
                watched(server, log)
            finally:
                server.process.send_signal(signal.SIGINT)
                server.process.wait()
        log.close()


if __name__ == "__main__":
    main()
