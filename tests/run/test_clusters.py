"""Runs that join a Ray cluster: what its nodes see, what travels, and how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.events import Event, EventReader
from tests.patience import BUSY
from tests.run.clusters import ADDRESS, Cluster, Space, are_possible, cluster
from tests.run.project import FLOAT, HOST, Project, emulated, entry

INT8, UINT8 = "int8 per-channel symmetric", "uint8 per-tensor asymmetric"
SCHEMES = {"b1": INT8, "b2": UINT8}
pytestmark = [pytest.mark.slow, pytest.mark.needs("sshd", "unshare", "nsenter", "ip")]


@pytest.fixture
def joined(tmp_path: Path):
    if not are_possible():
        pytest.skip("only root may connect network namespaces")
    with cluster(tmp_path) as made:
        yield made


def features(project: Project, row: str) -> list[bytes]:
    keys = project.cells()[row]["provenance"]["keys"]
    folders = (project.held("extract", keys[role]) for role in ("gallery", "probe"))
    return [(folder / "features.npy").read_bytes() for folder in folders]


def by_a_head_of_its_own(folder: Path, images: int) -> dict[str, list[bytes]]:
    """Features of the same rows when all is on one host."""
    folder.mkdir()
    alone = Project(folder)
    rows = [f"  - {{name: {n}, boards: this-host, quantization: {SCHEMES[n]}}}\n" for n in SCHEMES]
    alone.write("".join(rows), HOST, images)
    done = alone.farm("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(alone.cells()) == len(SCHEMES)
    return dict(zip(SCHEMES, (features(alone, row) for row in alone.cells()), strict=True))


def test_boards_that_only_another_node_reaches_and_which_sees_nothing_of_the_project(
    joined: Cluster, tmp_path: Path
) -> None:
    rows = FLOAT + entry("vim3", UINT8) + "".join(entry(n, SCHEMES[n]) for n in SCHEMES)
    here = HOST + emulated("vim3", "khadas-vim3")
    boards = "".join(map(joined.board, SCHEMES))

    joined.write(rows, here + boards.replace("lab-b", "lab-c"))
    refused = joined.farm("run", "--ray-address", ADDRESS)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    said = " ".join((refused.stdout + refused.stderr).split())
    assert "drives the site lab-c (boards b1, b2)" in said
    assert "--labels=farm-site=lab-c" in said
    assert "10.77.0.2" in said

    joined.write(rows, here + boards)
    done = joined.farm("run", "--ray-address", ADDRESS)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = joined.cells()
    assert {name: cell["executed_by"] for name, cell in cells.items()} == {
        "this-host": "board",
        "vim3": "twin",
        "b1": "board",
        "b2": "board",
    }
    assert joined.seen_by_second() == ""
    events = (joined.latest / "events.jsonl").read_text()
    assert "driven from node 10.77.0.2" in events
    assert "PRIVATE KEY" not in events
    seen = joined.farm("doctor", "--ray-address", ADDRESS).stdout
    assert f"ok      Ray cluster {ADDRESS}: joined" in seen

    alone = by_a_head_of_its_own(tmp_path / "alone", 40)
    for name, want in alone.items():
        assert features(joined, name) == want


def started(project: Cluster, *arguments: str) -> subprocess.Popen[bytes]:
    """A run in the background."""
    with open(project.outside / "said.txt", "wb") as said:
        return subprocess.Popen(
            project.command("run", "--ray-address", ADDRESS, *arguments),
            env=project.environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def until(project: Cluster, run: subprocess.Popen[bytes], what: Callable[[Event], bool]) -> None:
    """Wait for something to happen in a run that has just been started."""
    end = time.monotonic() + 30 * BUSY
    reader: EventReader | None = None
    while run.poll() is None and time.monotonic() < end:
        if reader is None and (project.latest / "events.jsonl").exists():
            reader = EventReader(project.latest.resolve() / "events.jsonl")
        if reader is not None and any(what(event) for event in reader.new()):
            return
        time.sleep(0.05)
    raise AssertionError((project.outside / "said.txt").read_text()[-3000:])


def extracting(event: Event) -> bool:
    return event.event == "step_progress" and event.step == "extract/b1/probe" and event.done > 0


def of_the_run(space: Space) -> list[str]:
    """What runs in a space for a run: host actors, tasks and agents."""
    names = ("ray::Host", "agent-", "orchestrator.driving")
    return [line for line in space.run("ps", "-eo", "args").splitlines() if line.startswith(names)]


@pytest.mark.soak
@pytest.mark.needs("ps", "pkill")
def test_a_node_lost_and_found_and_a_run_stopped_leave_the_cluster_and_every_feature(
    joined: Cluster, tmp_path: Path
) -> None:
    alone = by_a_head_of_its_own(tmp_path / "alone", 1000)
    joined.variables["FARM_DEADLINES"] = '{"lost_s": 8}'
    joined.write(
        FLOAT + entry("vim3", UINT8) + entry("b1", INT8),
        HOST + emulated("vim3", "khadas-vim3") + joined.board("b1"),
        1000,
    )
    joined.variables["RAY_AUTH_TOKEN"] = "another"
    refused = joined.farm("run", "--ray-address", ADDRESS)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "does not let this driver in (token: RAY_AUTH_TOKEN)" in refused.stdout
    del joined.variables["RAY_AUTH_TOKEN"]

    joined.latest.unlink()
    run = started(joined)
    until(joined, run, extracting)
    assert joined.second is not None
    joined.second.end()
    assert run.wait(30 * BUSY) == 1, (joined.outside / "said.txt").read_text()[-3000:]
    assert set(joined.cells()) == {"this-host", "vim3"}
    said = " ".join((joined.outside / "said.txt").read_text().split())
    lost = ("b1: node 10.77.0.2", "Ray's node 10.77.0.2", "the site lab-b has no node")
    assert any(f"row b1: no result: {words}" in said for words in lost)
    assert "given up after" in said
    fleet = (joined.folder / "runs" / "fleet.jsonl").read_text()
    assert not [line for line in fleet.splitlines() if '"b1"' in line and "ready" not in line]

    joined.start_second()
    # Stopped by Ctrl-C once it works there again.
    joined.latest.unlink()
    run = started(joined)
    until(joined, run, extracting)
    pid = run.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGINT)
    assert run.wait(20 * BUSY) == 130
    end = time.monotonic() + 10 * BUSY
    spaces = [joined.first, joined.second]
    while any(map(of_the_run, spaces)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not any(map(of_the_run, spaces))
    assert "raylet" in joined.second.run("ps", "-eo", "args")

    done = joined.farm("resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert features(joined, "b1") == alone["b1"]

    shutil.rmtree(joined.folder / ".farm" / "store" / "extract")
    joined.latest.unlink()
    run = started(joined)
    until(joined, run, extracting)
    joined.first.run("pkill", "-9", "gcs_server")
    assert run.wait(40 * BUSY) == 1
    assert "`farm resume` goes on" in (joined.outside / "said.txt").read_text()
    refused = joined.farm("resume")
    assert refused.returncode == 2
    assert f"no Ray cluster answers at {ADDRESS}" in refused.stderr
