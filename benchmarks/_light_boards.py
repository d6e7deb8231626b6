"""Boards that cost their host little: real SSH and the real agent, a runtime that only sleeps.

Eight server processes hold all boards. In the inventory they stand by their address, as real
boards do; what they "measure" is the time they sleep, and nothing of it leaves the temporary folder
that it is in. Their processes have a lower priority than farm's: real boards do not take the host's
processors.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks._timed_runs import Project, offer_toolchain
from orchestrator.fleet.emulated.boards import EmulatedFleet

MOST = 250  # a runtime may have 256 threads at most
MATRIX = """\
models: synthface-mfn
test_set: {rendered: {seed: 0, identities: 20, unknown: 10}}
calibration: {rendered: {images: 16}}
measurement:
  {warm_up_count: 2, min_duration_s: 0.5, min_count: 10, max_duration_s: 20, blocks: 1}
scoring: {far: [1e-1], table_far: 1e-1, bootstrap: 100}
entries:
  - {name: all, boards: {tag: fleet}, toolchain: timed, quantization: int8 per-channel symmetric}
"""


class _Yielding(threading.Thread):
    """Boards have processors of their own: on this host they take what farm and Ray leave.

    A process that the servers start inherits their policy. Where the kernel shares processors out
    by sessions first (autogroup), that policy counts within one session only, and each board's
    agent begins a session: these get less than half of the usual share, soon after they begin. With
    much less, boards on two processors would not answer in time.
    """

    EVERY_S = 0.1
    SESSION, POLICY = 3, 38  # fields of /proc/PID/stat behind the name
    NICENESS = "4"

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        for task in Path("/proc/self/task").iterdir():
            for server in (task / "children").read_text().split():
                os.sched_setscheduler(int(server), os.SCHED_IDLE, os.sched_param(0))

    def run(self) -> None:
        """Until `done`."""
        known: set[str] = set()
        sessions: set[str] = set()
        while not self.done.wait(self.EVERY_S):
            there = {name for name in os.listdir("/proc") if name.isdigit()}
            for name in there - known:
                with contextlib.suppress(OSError):
                    self._lower(name, sessions)
            known = there

    def _lower(self, name: str, sessions: set[str]) -> None:
        stat = Path(f"/proc/{name}/stat").read_text(errors="replace")
        fields = stat.rpartition(")")[2].split()
        session = fields[self.SESSION]
        if int(fields[self.POLICY]) == os.SCHED_IDLE and session not in sessions:
            Path(f"/proc/{name}/autogroup").write_text(self.NICENESS)
            sessions.add(session)


@contextmanager
def _yielding() -> Iterator[None]:
    thread = _Yielding()
    thread.start()
    try:
        yield
    finally:
        thread.done.set()
        thread.join()


@contextmanager
def project(boards: int) -> Iterator[Project]:
    """A project of so many running boards, each set up differently, so that none shares a row."""
    with (
        tempfile.TemporaryDirectory(prefix="farm-b") as name,
        EmulatedFleet(Path(name) / "boards") as servers,
    ):
        folder = Path(name) / "project"
        offer_toolchain(folder)
        lines = ["boards:\n"]
        for i in range(boards):
            found = servers.start(f"board{i:03}")
            lines.append(
                f"  - name: board{i:03}\n    kind: host-cpu\n    hardware: timed\n"
                f"    tags: [fleet]\n    lock: workdir\n    python: {sys.executable}\n"
                f"    runtime: {{name: onnxruntime, threads: {i % MOST + 1},"
                f" faithful: {i >= MOST}}}\n"
                f"    transport: {{ssh: {{host: {found.host}, port: {found.port},"
                f' user: {found.user}, key: {found.key_file}, host_key: "{found.host_key}"}}}}\n'
            )
        (folder / "device_inventory.yaml").write_text("".join(lines))
        (folder / "matrix.yaml").write_text(MATRIX)
        with _yielding():
            yield Project(folder)
