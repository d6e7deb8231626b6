"""The example notebook is executed, kernel and all, on a small matrix."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import orchestrator as farm
from orchestrator.errors import UserError

from .project import FLOAT, HOST, ROOT, Project, emulated, entry

if TYPE_CHECKING:
    import nbformat

NOTEBOOK = ROOT / "examples" / "notebook" / "explore.ipynb"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("notebook"))
    made.write(
        FLOAT + entry("vim3", "uint8 per-tensor asymmetric"),
        HOST + emulated("vim3", "khadas-vim3"),
    )
    return made


@pytest.fixture(scope="module")
def executed(project: Project) -> nbformat.NotebookNode:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    kept = dict(os.environ)
    own = dict.fromkeys(("TMPDIR", "FARM_LOCK_FOLDER"), project.temporary)
    os.environ.update({"PYTHONPATH": str(ROOT), **own})
    try:
        client = NotebookClient(
            notebook, timeout=600, resources={"metadata": {"path": str(project.folder)}}
        )
        client.kernel_manager_class = "jupyter_client.AsyncKernelManager"
        # This interpreter, whatever kernels a person has registered.
        client.create_kernel_manager().kernel_spec.argv[0] = sys.executable
        done: nbformat.NotebookNode = client.execute()
    finally:
        os.environ.clear()
        os.environ.update(kept)
    return done


@pytest.mark.slow
@pytest.mark.timeout(900)  # Ray has to start, on a machine that may be busy
def test_every_cell_runs_and_shows_what_it_says(executed: nbformat.NotebookNode) -> None:
    shown = [
        {kind for output in cell.outputs for kind in output.get("data", {})}
        for cell in executed.cells
        if cell.cell_type == "code"
    ]
    assert "text/markdown" in shown[0]  # the table
    assert "application/vnd.jupyter.widget-view+json" in shown[0]  # the live progress
    assert "text/html" in shown[1]  # the data frame
    assert all("image/png" in kinds for kinds in shown[2:])
    assert len(shown) == 5


@pytest.mark.slow
@pytest.mark.timeout(900)  # Ray has to start, on a machine that may be busy
def test_the_api_gives_what_results_json_says(
    executed: nbformat.NotebookNode, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    run = farm.load()
    assert [row.name for row in run.results] == ["this-host", "vim3"]
    assert run.results[0].rank1.value == project.cells()["this-host"]["rank1"]["value"]
    frame = farm.frame(run)
    assert list(frame.name) == ["this-host", "vim3"]
    times = farm.device_times(run, "this-host")
    assert times is not None
    assert times.size == run.results[0].latency.device.count  # type: ignore[union-attr]
    with pytest.raises(UserError, match="no finished row 'vim4'"):
        farm.searches(run, "vim4")
    again = farm.run(limit=200, progress=False)  # all in the store: no Ray, no board
    assert again.state.finished is not None
    assert again.state.finished.cached
    assert not farm.compare(run, again).only_first
    assert farm.gate(again, run, max_drop=["rank1=0.5"]).passed


def test_the_kept_outputs_show_what_the_notebook_makes_and_nothing_of_a_machine() -> None:
    import nbformat

    text = NOTEBOOK.read_text("utf-8")
    assert len(text) < 100_000
    outputs = [
        cell.outputs
        for cell in nbformat.reads(text, as_version=4).cells
        if cell.cell_type == "code"
    ]
    assert all(outputs)
    table = outputs[0][0].data["text/html"]
    assert table.startswith("<table><thead><tr><th>Hardware</th>")
    assert table.count("<tr>") == 3
    assert "Tengine twin" in table
    for figures in outputs[2:]:
        assert [set(figure.data) for figure in figures] == [{"image/png", "text/plain"}]
    told = re.sub(r'"image/png": ".*?"', "", text)
    # Neither a path, nor a run's name or a time, nor what only a live kernel can show.
    assert (
        re.findall(r"/(?:home|root|tmp|work|Users)/|\d{8}-\d{6}|\d\d:\d\d:\d\d|widget-view", told)
        == []
    )


def test_a_mistake_is_a_user_error_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        farm.plan(tmp_path / "matrix.yaml")
    with pytest.raises(UserError, match="limit is 0"):
        farm.run(tmp_path / "matrix.yaml", limit=0)
    assert not (tmp_path / "runs").exists()
