"""A run on a server, begun by a real client process over a link that breaks: as a run here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.reporting.analysis.figures import raw_of, searches_of
from orchestrator.reporting.analysis.history import load_run
from orchestrator.store.fleet_log import FleetLog
from tests.bundle.made import ROOT
from tests.faulty_proxy import Relay
from tests.patience import ENDS_S

from .project import FLOAT, HOST, Project, emulated, entry

ROWS = FLOAT + entry("rv", "uint8 per-tensor asymmetric")
BOARDS = HOST + emulated("rv", "rv1126")


@contextmanager
def served(project: Project) -> Iterator[int]:
    """`farm serve` of a project, on 127.0.0.2, so that a relay can have its port on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = project.command("serve", "--allow-actions", "--host", "127.0.0.2")
    command += ["--port", str(port), "--token-file", "token"]
    serving = subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stdout is not None
        assert "farm serve: http://127.0.0.2" in serving.stdout.readline()
        yield port
    finally:
        serving.send_signal(signal.SIGINT)
        serving.wait(ENDS_S)


def grown(path: Path, count: int) -> int:
    """Wait until a run's log has so many lines."""
    end = time.monotonic() + ENDS_S
    while time.monotonic() < end:
        logs = list(path.glob("2*/events.jsonl"))
        lines = logs[0].read_bytes().count(b"\n") if logs else 0
        if lines >= count:
            return lines
        time.sleep(0.05)
    raise AssertionError(f"no log of {count} lines below {path}")


def figures(project: Project) -> list[dict[str, object]]:
    """All of a run's rows but what depends on when and in which process they were made."""
    rows = project.results()["cells"]
    return [{name: row[name] for name in row if name != "provenance"} for row in rows]


@pytest.mark.slow
def test_a_remote_run_is_as_one_here_over_a_link_that_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, laptop = Project(tmp_path / "lab"), Project(tmp_path / "laptop")
    for project in (lab, laptop):
        project.folder.mkdir()
        project.write(ROWS, BOARDS)
    (lab.folder / "matrix.yaml").unlink()
    (laptop.folder / "device_inventory.yaml").unlink()
    (laptop.folder / "models").mkdir()
    for name in ("synthface-ir.yaml", "synthface-ir.onnx"):
        shutil.copy(ROOT / "models" / name, laptop.folder / "models")
    with served(lab) as port:
        url, token = f"http://127.0.0.1:{port}", lab.folder / "token"
        laptop.variables["FARM_TOKEN"] = token.read_text().strip()
        command = laptop.command("run", "--remote", url)
        with open(laptop.folder / "said.txt", "w") as said:
            running = subprocess.Popen(
                command, cwd=laptop.folder, env=laptop.environment, stdout=said, stderr=said
            )
            with Relay(("127.0.0.2", port), port=port) as relay:
                grown(laptop.folder / "runs", 5)
                relay.cut()
                # The token is on no command line, and in no file of the laptop's.
                shown = Path(f"/proc/{running.pid}/cmdline").read_text()
                assert laptop.variables["FARM_TOKEN"] not in shown
                before = grown(laptop.folder / "runs", 8)
            # The link is down: the run goes on, and so does the client once it is back.
            there = grown(lab.folder / "runs", before + 3)
            assert running.poll() is None
            with Relay(("127.0.0.2", port), port=port):
                grown(laptop.folder / "runs", there)
                # Detached, and taken up again.
                running.send_signal(signal.SIGINT)
                assert running.wait(ENDS_S) == 130
                words = (laptop.folder / "said.txt").read_text()
                assert f"goes on at {url}" in words
                name = os.readlink(laptop.latest)
                assert f"come back: farm watch {name}; stop it: farm cancel {name}" in words
                done = laptop.farm("watch", name)
                assert done.returncode == 0, done.stdout + done.stderr
                assert "complete: 2 of 2 rows" in done.stdout
                report = (laptop.latest / "report.html").read_text()
                assert "<html" in report
                # Scores and raw times are here too, as reports and comparisons need them.
                monkeypatch.chdir(laptop.folder)
                run = load_run(laptop.latest.resolve())
                assert run.store is not None
                for row in run.results:
                    assert searches_of(run, row) is not None
                    assert raw_of(run, row) is not None
                # A second run: nothing is sent, nothing is done.
                again = laptop.farm("run", "--remote", url)
                assert again.returncode == 0, again.stdout + again.stderr
                assert "3 files: 0 bytes sent" in again.stdout
                assert "nothing was run" in again.stdout
        assert laptop.latest.joinpath("events.jsonl").read_bytes() == (
            lab.latest.joinpath("events.jsonl").read_bytes()
        )
    for path in laptop.folder.rglob("*.json*"):
        assert laptop.variables["FARM_TOKEN"] not in path.read_text()
    log = FleetLog(lab.folder / "runs").entries()
    asked = [each.reason for each in log if each.event == "asked"]
    assert asked == ["a run of matrix.yaml, sent from elsewhere"] * 2
    # Here, with what the server's store holds, it is the same table to the last digit.
    shutil.copy(lab.folder / "device_inventory.yaml", laptop.folder)
    theirs, table = figures(laptop), (laptop.latest / "table.md").read_text()
    document = json.loads((laptop.latest / "results.json").read_text())
    shutil.copytree(lab.folder / ".farm" / "store", laptop.folder / ".farm" / "store")
    here = laptop.farm("run")
    assert here.returncode == 0, here.stdout + here.stderr
    assert figures(laptop) == theirs
    assert (laptop.latest / "table.md").read_text() == table
    own = laptop.results()
    assert {k: own[k] for k in own if k not in ("run", "cells")} == {
        k: document[k] for k in document if k not in ("run", "cells")
    }
