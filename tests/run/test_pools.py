"""Boards of one kind share a row: its extraction is shared out, boards come and go meanwhile."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.events import Event, EventReader
from tests.patience import BUSY, ENDS_S
from tests.run.project import FLOAT, HOST, Project, emulated

POOL = (
    "  - {name: vim3, boards: {kind: khadas-vim3}, quantization: uint8 per-tensor asymmetric,"
    " priority: -1}\n"
    "  - {name: extra, boards: {tag: late}, quantization: uint8 per-tensor asymmetric}\n"
)
FIRST = emulated("a", "khadas-vim3")


def until(project: Project, run: subprocess.Popen[str], what: Callable[[Event], bool]) -> None:
    end = time.monotonic() + 30 * BUSY
    while not (project.latest / "events.jsonl").exists():
        assert run.poll() is None
        time.sleep(0.05)
    reader = EventReader(project.latest.resolve() / "events.jsonl")
    while not any(what(event) for event in reader.new()):
        assert run.poll() is None, (project.folder / "said.txt").read_text()[-3000:]
        assert time.monotonic() < end
        time.sleep(0.05)


def features(project: Project, cell: str) -> list[bytes]:
    keys = project.cells()[cell]["provenance"]["keys"]
    found = (project.held("extract", keys[role]) for role in ("gallery", "probe"))
    return [(folder / "features.npy").read_bytes() for folder in found]


@pytest.mark.slow
def test_boards_join_and_leave_while_a_run_goes_on(tmp_path: Path) -> None:
    project = Project(tmp_path)
    late = emulated("z", "rv1126", ", tags: [late]")
    project.write(FLOAT + POOL.splitlines(keepends=True)[0], HOST + FIRST, 1600, 30)
    alone = project.farm("run")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    want = features(project, "a")
    for stage in ("extract", "score", "compare"):
        shutil.rmtree(tmp_path / ".farm" / "store" / stage)
    # Renamed: its driver may still be writing into it.
    (tmp_path / "runs").rename(tmp_path / "earlier")

    inventory = tmp_path / "device_inventory.yaml"
    project.write(FLOAT + POOL, HOST + FIRST + late, 1600, 30)
    run = project.begin()
    try:
        until(project, run, lambda e: e.event == "step_progress" and e.step == "extract/a/gallery")
        inventory.write_text("boards: [this is")  # half-saved
        time.sleep(1.5)
        inventory.write_text(
            "boards:\n"
            + HOST
            + FIRST
            + emulated("b", "khadas-vim3")
            + emulated("c", "imx8mp")
            + late
        )
        until(
            project,
            run,
            lambda e: e.event == "board_changed" and e.board == "b" and e.state == "busy",
        )
        inventory.write_text("boards:\n" + HOST + emulated("b", "khadas-vim3") + late)
        assert run.wait(ENDS_S) == 0, (tmp_path / "said.txt").read_text()[-3000:]
    finally:
        run.kill()
    assert features(project, "a") == want
    keys = project.cells()["a"]["provenance"]["keys"]
    makers = set()
    for role in ("gallery", "probe"):
        manifest = json.loads((project.held("extract", keys[role]) / "manifest.json").read_text())
        made_by = manifest["provenance"]
        makers |= {made_by["board_name"], *made_by.get("rows_by_board", {})}
    assert "b" in makers
    notes = [e.message for e in project.events() if e.event == "note"]
    assert any("b joined the run" in note for note in notes)
    assert any("a was taken out of the inventory" in note for note in notes)
    assert any("is not used as it is now" in note for note in notes)
    assert "z" in project.cells()
