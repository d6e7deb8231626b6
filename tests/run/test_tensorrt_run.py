"""A whole run over OpenSSH with a pretended Jetson: plan, build on the board, rows, provenance.

The GPU and TensorRT are pretended (`tests/agents/gpu.py`), onnxruntime computes: the rows name
their hardware "Test fake", and nothing here says how TensorRT computes or how fast a Jetson is.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from orchestrator.events import EventReader
from orchestrator.fleet.emulated.boards import ensure_key
from tests.agents import gpu
from tests.openssh import running_sshd
from tests.run.project import FLOAT, HOST, Project, entry

pytestmark = [pytest.mark.slow, pytest.mark.needs("sshd", "gcc")]

INT8 = "int8 per-channel symmetric"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("jetson")
    key = folder / "key"
    public = ensure_key(key)
    project = Project(folder / "project")
    project.folder.mkdir()
    settings = {
        "onnxruntime": True,
        "mode": "build-slow",
    }
    machine = gpu.Machine(folder, "8.4.1", settings=settings)
    environment = machine.environment()
    # sshd takes quotes away.
    (folder / "fake.json").write_text(environment["FAKE_TENSORRT"])
    environment["FAKE_TENSORRT"] = str(folder / "fake.json")
    with running_sshd(folder, public, environment=environment) as sshd:
        board = (
            "  - name: jetson\n    kind: jetson-xavier-nx\n    hardware: Test fake\n"
            f"    provider: none\n    python: {sys.executable}\n    workdir: {folder / 'work'}\n"
            f"    transport: {{ssh: {{host: 127.0.0.1, port: {sshd.port}, user: {sshd.user},"
            f" key: {key}, host_key: {sshd.host_key}}}}}\n    contention_domain: this-host\n"
        )
        card = "  - {name: card, kind: cuda-gpu, transport: local}\n"
        project.write(
            FLOAT + entry("jetson", f"[{INT8}, float32, float16]") + entry("card", "float32"),
            HOST + board + card,
            12,
            10,
        )
        planned = project.farm("plan")
        done = project.farm("run")
        again = project.farm("run")
    return project, planned, done, again, machine, folder


def test_the_rows_that_can_be_made_are_made(run: Any) -> None:
    project, planned, done, _, machine, _ = run
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert done.returncode == 1, done.stdout + done.stderr
    cells = project.cells()
    made = {"jetson/" + INT8.replace(" ", "-"), "jetson/float32", "jetson/float16"}
    assert set(cells) >= {"this-host", *made}
    for name, row in cells.items():
        if name.startswith("jetson"):
            half = " float16" if name == "jetson/float16" else ""
            assert (row["backend"], row["executed_by"]) == ("TensorRT" + half, "board")
            # This PC is no Jetson, as its own files say: its time is no Jetson's.
            assert row["latency"] is None
            assert row["verdict_reasons"][0].startswith("another board")
            assert row["latency_host"]["device"]["p50_ms"] > 0
    # Once for each file and for the proof, and found again by the steps after.
    assert machine.log.count("build") == 4


def test_provenance_has_the_gpu_and_how_the_engine_was_built(run: Any) -> None:
    project, *_ = run
    row = project.cells()["jetson/" + INT8.replace(" ", "-")]
    for stage in ("probe", "measure"):
        opened = row["provenance"][stage]["opened"]
        assert (opened["version"], opened["provider"]) == ("8.4.1", "TensorRT")
        facts = opened["facts"]
        assert (facts["gpu"], facts["compute_capability"]) == ("Xavier", "7.2")
        assert facts["int8"] is True
        assert facts["build_s"] >= 4
        assert len(facts["engine_sha256"]) == 64
        assert facts["device_time"].startswith("CUDA events")


def test_the_head_said_that_an_engine_was_built(run: Any) -> None:
    project, _, done, *_ = run
    first = min(path for path in (project.folder / "runs").iterdir() if not path.is_symlink())
    events = EventReader(first / "events.jsonl").new()
    noted = [event for event in events if event.event == "step_progress" and event.note]
    building = {event.step for event in noted if "building the TensorRT engine: " in event.note}
    # The step that brings a file builds it: no measurement's pace has that in it.
    assert building
    assert all(step.startswith("deploy/jetson") for step in building)
    assert "engine built in" in done.stdout


def test_features_are_those_of_the_file_that_was_sent(run: Any) -> None:
    project, *_ = run
    rows = project.cells()
    int8, half, exact = (
        np.load(project.held("extract", rows[name]["provenance"]["keys"]["probe"]) / "features.npy")
        for name in ("jetson/" + INT8.replace(" ", "-"), "jetson/float16", "this-host")
    )
    cosine = (int8 * exact).sum(1) / (np.linalg.norm(int8, axis=1) * np.linalg.norm(exact, axis=1))
    assert 0.9 < cosine.mean() < 0.99999
    cosine = (half * exact).sum(1) / (np.linalg.norm(half, axis=1) * np.linalg.norm(exact, axis=1))
    assert 0.9999 < cosine.mean() < 1


def test_a_graphics_card_that_is_not_there_is_an_error_and_no_cpu_figure(run: Any) -> None:
    project, _, done, *_ = run
    assert "card" not in project.cells()
    assert "CUDAExecutionProvider was asked for" in done.stdout + done.stderr


def test_nothing_is_done_twice(run: Any) -> None:
    *_, again, machine, _ = run
    assert machine.log.count("build") == 4
    assert again.returncode == 1  # the card's row is tried again
