"""The main job over real SSH with real models, against figures made without any of farm's code."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from orchestrator.agents.host.arithmetic import exact_integers
from orchestrator.events import RunFinished
from orchestrator.images import render
from tests.run.project import FLOAT, HOST, ROOT, Project, emulated, entry

# A whole run: on a busy machine it takes minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

IDENTITIES, UNKNOWN = 40, 20


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("project"))
    made.write(
        FLOAT
        + entry("jetson", "int8 per-channel symmetric")
        + entry("vim3", "uint8 per-tensor asymmetric", ", gallery: [same, float32]"),
        HOST + emulated("jetson", "jetson-xavier-nx") + emulated("vim3", "khadas-vim3"),
        IDENTITIES,
        UNKNOWN,
    )
    done = made.farm("run")
    assert done.returncode == 0, done.stdout + done.stderr
    (made.folder / "first.txt").write_text(done.stdout)
    return made


def session(model: bytes, faithful: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if faithful:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def features(model: bytes, images: NDArray[np.uint8], faithful: bool) -> NDArray[np.float32]:
    run = session(model, faithful)
    name = run.get_inputs()[0].name
    made = []
    for image in images:
        plain = (image.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
        made.append(run.run(None, {name: plain.transpose(2, 0, 1)[None]})[0][0])
    return np.array(made)


def faces() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    gallery = render(np.arange(IDENTITIES), np.zeros(IDENTITIES, int), 0, 1.5)
    ids = np.arange(IDENTITIES + UNKNOWN)
    return gallery, render(ids, np.ones(len(ids), int), 0, 1.5)


def brute_force(
    gallery: NDArray[np.float32], probes: NDArray[np.float32], far: float
) -> tuple[float, float]:
    """Rank-1 and TAR by the definitions, with the whole matrix and nothing clever."""
    g = gallery.astype(np.float64)
    p = probes.astype(np.float64)
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    p /= np.linalg.norm(p, axis=1, keepdims=True)
    scores = (p @ g.T).astype(np.float32)
    mate = np.array([scores[i, i] for i in range(IDENTITIES)])
    for i in range(IDENTITIES):
        scores[i, i] = -np.inf
    best = scores.max(axis=1)
    ordered = np.sort(best)[::-1]
    threshold = np.nextafter(ordered[int(far * len(ordered) + 1e-9)], np.float32(np.inf))
    hit = mate > best[:IDENTITIES]
    return float(hit.mean()), float((hit & (mate >= threshold)).mean())


def artifact(project: Project, row: str) -> bytes:
    keys = project.cells()[row]["provenance"]["keys"]
    return (project.held("convert", keys["artifact"]) / "artifact").read_bytes()


def test_the_float_row_equals_brute_force_over_the_original_model(project: Project) -> None:
    gallery, probes = faces()
    model = (ROOT / "models" / "synthface-ir.onnx").read_bytes()
    rank1, tar = brute_force(features(model, gallery, False), features(model, probes, False), 0.1)
    row = project.cells()["this-host"]
    assert row["rank1"]["value"] == pytest.approx(rank1, abs=1e-12)
    assert row["tar"]["value"] == pytest.approx(tar, abs=1e-12)


@pytest.mark.parametrize(
    ("row", "faithful"),
    [("this-host", False), ("jetson", True), ("vim3", not exact_integers())],
)
def test_features_equal_onnxruntime_run_directly(
    project: Project, row: str, faithful: bool
) -> None:
    gallery, probes = faces()
    model = artifact(project, row)
    keys = project.cells()[row]["provenance"]["keys"]
    for role, images in (("gallery", gallery), ("probe", probes)):
        got = np.load(project.held("extract", keys[role]) / "features.npy")
        np.testing.assert_array_equal(got, features(model, images, faithful))


def test_mixed_mode_scores_the_board_against_the_float_gallery(project: Project) -> None:
    gallery, probes = faces()
    rank1, tar = brute_force(
        features(artifact(project, "this-host"), gallery, False),
        features(artifact(project, "vim3"), probes, not exact_integers()),
        0.1,
    )
    row = project.cells()["vim3*"]
    assert row["mixed"] is True
    assert (row["rank1"]["value"], row["tar"]["value"]) == pytest.approx((rank1, tar), abs=1e-12)
    assert row["hardware"] == "A311D*"


def test_emulated_rows_carry_no_time_and_say_what_ran(project: Project) -> None:
    cells = project.cells()
    for name in ("jetson", "vim3", "vim3*"):
        row = cells[name]
        assert row["latency"] is None
        assert row["latency_host"]["timing_valid"] is False
        assert row["latency_host"]["device"]["count"] >= 20
        assert (row["verdict"], row["executed_by"], row["emulated"]) == (
            *("EMULATED", "twin"),
            True,
        )
    assert cells["jetson"]["backend"] == "TensorRT twin (onnxruntime)"
    assert cells["vim3"]["backend"] == "Tengine twin (onnxruntime)"
    assert cells["vim3"]["provenance"]["artifact"]["executed_by"] == "twin"
    assert cells["this-host"]["latency"]["timing_valid"] is True
    assert cells["this-host"]["executed_by"] == "board"
    table = (project.latest / "table.md").read_text()
    line = next(line for line in table.splitlines() if "Jetson" in line)
    assert line.split("|")[5].strip() == "–"


def test_parity_of_each_row_is_kept(project: Project) -> None:
    for name, row in project.cells().items():
        found = row["provenance"]["parity"]
        assert (found["images"], found["warnings"]) == (16, []), name
        by = row["executed_by"]
        middle = [] if name == "this-host" else ["twin"]
        # TensorRT's biases are float32.
        middle += ["integers"] if name.startswith("vim3") and exact_integers() else []
        names = [stage["stage"] for stage in found["stages"]]
        assert names == ["float32", "prepared", *middle, f"executed by {by}"]
        assert found["stages"][-1]["to_previous"] == pytest.approx(1, abs=1e-6)
    assert "parity/vim3: done" in (project.folder / "first.txt").read_text()


def test_every_raw_time_is_kept_in_whole_nanoseconds(project: Project) -> None:
    row = project.cells()["this-host"]
    times = np.load(project.held("measure", row["provenance"]["keys"]["measure"]) / "times.npz")
    assert times["device_ns"].dtype == np.int64
    assert len(times["device_ns"]) == row["latency"]["device"]["count"] >= 20
    assert (times["end_to_end_ns"] >= times["device_ns"]).all()
    ordered = np.sort(times["device_ns"])
    p50 = ordered[-(-len(ordered) // 2) - 1] / 1e6
    assert row["latency"]["device"]["p50_ms"] == pytest.approx(p50)


def test_folders_are_private_and_no_face_is_in_a_report(project: Project) -> None:
    run = project.latest.resolve()
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    for name in ("table.md", "results.json", "events.jsonl"):
        assert (run / name).stat().st_size < 1_000_000
    key = project.folder / ".farm" / "ray-token"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_executed_by_is_in_every_event_of_something_executed(project: Project) -> None:
    for line in (project.latest / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] in ("board_changed", "cell_finished", "cell_failed"):
            assert event["executed_by"] in ("board", "emulated", "twin")
        if event.get("stage") in ("deploy", "measure", "extract", "score"):
            assert event["executed_by"] in ("board", "twin"), event


def test_no_image_is_left_on_a_board(project: Project) -> None:
    image = render(np.array([0]), np.array([0]), 0, 1.5)[0].tobytes()
    emulated_homes = project.folder / ".farm" / "emulated"
    for path in emulated_homes.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert image[5000:9000] not in path.read_bytes(), path


def test_a_second_run_computes_nothing_and_needs_neither_ray_nor_board(project: Project) -> None:
    done = project.farm("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all of it was in the store (cached)" in done.stdout
    assert not (project.latest / "driver.log").exists()
    first = json.loads(
        (sorted(Path(project.folder, "runs").glob("2*"))[0] / "results.json").read_text()
    )
    assert project.results()["cells"] == first["cells"]


def test_resume_goes_on_with_the_same_run(project: Project) -> None:
    """A run that was stopped keeps its name; what stopped it is over when it has ended complete."""
    runs = project.folder / "runs"
    before = sorted(path.name for path in runs.glob("2*"))
    name = project.latest.resolve().name
    results, log = project.results(), runs / name / "events.jsonl"
    done = project.farm("resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "complete: 4 of 4 rows; all of it was in the store (cached)" in done.stdout
    lines = log.read_bytes().splitlines(keepends=True)
    stopped = RunFinished(exit_code=130, outcome="interrupted").model_dump_json()
    log.write_bytes(lines[0] + stopped.encode() + b"\n" + b'{"event": "cell_')
    listed = project.farm("runs", "--json")
    assert json.loads(listed.stdout)[-1]["outcome"] == "interrupted"
    done = project.farm("resume", name[:-1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"run {name}: resumed: 4 rows" in done.stdout
    assert sorted(path.name for path in runs.glob("2*")) == before
    assert project.results() == results
    listed = project.farm("runs", "--json")
    assert json.loads(listed.stdout)[-1]["outcome"] == "complete"


def test_plain_lines_where_there_is_no_terminal(project: Project) -> None:
    text = (project.folder / "first.txt").read_text()
    assert "\x1b" not in text
    assert "extract/vim3/probe: done" in text
    assert "A311D*" in text
