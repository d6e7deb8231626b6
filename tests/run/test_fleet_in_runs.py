"""What a run reads in the fleet log, and what it writes there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from orchestrator.fleet.boards.entry import identity
from orchestrator.specs.inventory import load_inventory
from orchestrator.store.fleet_entries import Reserved, Unreserved
from orchestrator.store.fleet_log import FleetLog, Standing
from tests.run.project import FLOAT, HOST, Project, emulated, entry
from tests.run.test_pools import until

UINT8 = "uint8 per-tensor asymmetric"
WRONG = """\
import sys
mine = sys.modules.pop("onnxruntime")
sys.path = [p for p in sys.path if p != {folder!r}]
import onnxruntime as real
run = real.InferenceSession.run
real.InferenceSession.run = lambda self, *a, **k: [x * 1.01 for x in run(self, *a, **k)]
sys.modules["onnxruntime"] = real
"""


def standings(project: Project) -> dict[str, Standing]:
    boards = load_inventory(project.folder / "device_inventory.yaml").boards
    log = FleetLog(project.folder / "runs")
    return log.standings({board.name: identity(board) for board in boards})


def board_that_computes_wrongly(folder: Path) -> Path:
    """A `python3` whose onnxruntime is off by a hundredth."""
    package = folder / "packages" / "onnxruntime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(WRONG.format(folder=str(package.parent)))
    python = folder / "python3"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={package.parent} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


@pytest.mark.slow
def test_who_gets_work_is_read_from_the_fleet_log_and_failures_are_written_there(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path)
    python = board_that_computes_wrongly(tmp_path / "bad")
    project.write(
        FLOAT + entry("rv", UINT8) + entry("vim3", UINT8) + entry("bad", UINT8),
        HOST
        + emulated("rv", "rv1126")
        + emulated("vim3", "khadas-vim3")
        + emulated("bad", "imx8mp", f", python: {python}"),
    )
    drained = project.farm("boards", "drain", "vim3", "--reason", "demo at noon")
    assert drained.returncode == 0, drained.stderr
    done = project.farm("run")
    assert done.returncode == 1, done.stdout + done.stderr
    assert set(project.cells()) == {"this-host", "rv"}
    missing = project.results()["missing"]
    assert "demo at noon" in missing["vim3"]
    assert "farm boards undrain vim3" in missing["vim3"]
    assert "it computes wrongly" in missing["bad"]
    started = {e.step for e in project.events() if e.event == "step_started"}
    assert not {step for step in started if "vim3" in step or "bad" in step}
    stands = standings(project)
    assert stands["rv"].state == "ready"
    assert stands["rv"].proofs["onnxruntime"].proved
    assert stands["vim3"].state == "draining"
    assert stands["bad"].state == "quarantined"

    # Quarantine and draining outlive the run; the plan names the way out.
    plan = project.farm("plan")
    assert plan.returncode == 1
    said = " ".join(plan.stdout.split())
    assert "not now: bad is quarantined" in said
    assert "farm boards check bad" in said
    again = project.farm("run")
    assert again.returncode == 1
    assert not any(e.event == "board_changed" and e.board == "bad" for e in project.events())

    # Mended and admitted, undrained: all rows come. What is remembered of boards is wrong: those
    # with this Python are strangers to the plan, the other one is not as it believes.
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    assert project.farm("boards", "check", "bad").returncode == 0
    assert project.farm("boards", "undrain", "vim3").returncode == 0
    facts = project.folder / ".farm" / "boards.json"
    known = json.loads(facts.read_text())
    for board in known.values():
        board["runtimes"]["onnxruntime"] = "0.1"
    facts.write_text(json.dumps(known))
    last = project.farm("run")
    assert last.returncode == 0, last.stdout + last.stderr
    assert set(project.cells()) == {"this-host", "rv", "vim3", "bad"}
    notes = [e.message for e in project.events() if e.event == "note"]
    changed = [note.split()[0] for note in notes if "changed since it was planned" in note]
    assert changed == ["bad"], notes
    made = {e.step for e in project.events() if e.event == "step_finished" and not e.cached}
    assert "extract/rv/probe" not in made  # under its true version it was in the store
    assert "extract/vim3/probe" in made


@pytest.mark.slow
def test_a_reserved_board_is_waited_for(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(FLOAT + entry("rv", UINT8), HOST + emulated("rv", "rv1126"))
    log = FleetLog(tmp_path / "runs")
    log.append(Reserved(board="rv", by="ann@lab", for_s=3600, reason="new driver"))
    run = project.begin()
    try:
        until(project, run, lambda e: e.event == "waiting" and "ann@lab" in e.subject)
        until(project, run, lambda e: e.event == "cell_finished" and e.cell == "this-host")
        assert not [e for e in project.events() if e.event == "step_started" and e.board == "rv"]
        log.append(Unreserved(board="rv", whose="ann@lab"))
        assert run.wait() == 0, (tmp_path / "said.txt").read_text()
    finally:
        run.terminate()
    assert set(project.cells()) == {"this-host", "rv"}
