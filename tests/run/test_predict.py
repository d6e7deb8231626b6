"""`farm plan --predict`: twins on this host, under the keys that a run would use."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.agents.host.arithmetic import exact_integers
from orchestrator.cli.main import main
from orchestrator.execution.local_backend import host_facts, host_plan
from orchestrator.planning.cells import Cell
from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.request import Request
from tests.run.project import FLOAT, HOST, Project, entry
from tests.run.test_main_job import features

UINT8 = "uint8 per-tensor asymmetric"
REAL = "  - {name: vim3, kind: khadas-vim3, transport: {ssh: {host: 192.0.2.1, user: nobody}}}\n"
STAND_IN = "  - {name: vim3, kind: khadas-vim3, transport: emulated}\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("project"))
    made.write(FLOAT + entry("vim3", UINT8, ", gallery: [same, float32]"), HOST + REAL, 30, 20)
    matrix = made.folder / "matrix.yaml"
    rare = matrix.read_text().replace("far: [1e-1, 1e-2], table_far: 1e-1", "far: 1e-3")
    matrix.write_text(rare)
    return made


def request(project: Project) -> Request:
    folder = project.folder
    return Request(
        str(folder / "matrix.yaml"),
        str(folder / "device_inventory.yaml"),
        str(folder / ".farm"),
        str(folder / "runs"),
    )


def probe_features(plan: Plan, cell: Cell) -> np.ndarray:
    step = plan.graph.targets[cell.name].probe
    held = plan.store.lookup("extract", plan.resolution.keys[step])
    assert held is not None
    return np.load(held.folder / "features.npy")


@pytest.mark.slow
def test_a_real_boards_rows_are_predicted_by_its_twin(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["plan", "--predict"]) == 0
    shown = capsys.readouterr().out
    before, _, after = shown.partition("Executed by  Backend")
    assert "impossible" in before  # Tengine's tools are not here: a run would refuse this row
    rows = [line.split() for line in after.splitlines() if line.startswith("vim3")]
    assert [row[:5] for row in rows] == [
        ["vim3", "twin", "Tengine", "twin", "(onnxruntime)"],
        ["vim3*", "twin", "Tengine", "twin", "(onnxruntime)"],
    ]
    assert "no board was touched" in after
    # 30 searches cannot tell 1 in 1,000: the run would refuse the figure, so does its prediction.
    assert all("n/a (n<1/FAR)" in line for line in after.splitlines() if line.startswith("vim3"))
    assert not (project.folder / "runs").exists()

    plan = host_plan(request(project))
    cell = next(cell for cell in plan.cells if cell.name == "vim3")
    target = plan.graph.targets[cell.name]
    artifact = plan.store.lookup("convert", plan.resolution.keys[target.artifact])
    pictures = plan.store.lookup("images", plan.resolution.keys["images/probe"])
    assert artifact is not None
    assert pictures is not None
    images = np.load(pictures.folder / "images.npy")
    expected = features((artifact.folder / "artifact").read_bytes(), images, not exact_integers())
    np.testing.assert_array_equal(probe_features(plan, cell), expected)
    assert target.measure not in plan.resolution.contents

    # An emulated board in its place finds all that the prediction made.
    inventory = project.folder / "device_inventory.yaml"
    inventory.write_text(inventory.read_text().replace(REAL, STAND_IN))
    swapped = make_plan(request(project), facts=host_facts())
    left = {swapped.graph.steps[step_id].stage for step_id in swapped.resolution.todo}
    assert left == {"measure", "deploy", "parity"}
