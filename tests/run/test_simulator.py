"""A vendor's simulator as what executes: whole runs, with a substitute for Rockchip's package.

The substitute computes the float32 model, so a simulated row must have float32's figures.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.project import FLOAT, HOST, Project, entry
from tests.toolchains import fake_rknn

SIM = "  - {{name: {0}, kind: {1}, transport: simulator}}\n"
INT8 = "int8 per-channel asymmetric"


@pytest.mark.slow
def test_a_simulated_row_has_accuracy_and_no_time(tmp_path: Path) -> None:
    fake_rknn.environment(tmp_path / "toolchains", size=112)
    project = Project(tmp_path, {"FARM_TOOLCHAINS": str(tmp_path / "toolchains")})
    entries = FLOAT + entry("rk", INT8, ", gallery: [same, float32]")
    project.write(entries, HOST + SIM.format("rk", "rk3588"), identities=24, unknown=10)
    ended = project.farm("run", "--limit", "12")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = {row["name"]: row for row in project.cells().values()}
    row, exact = rows["rk"], rows["this-host"]
    assert row["backend"] == "RKNN simulator (rknn-toolkit2 9.9)"
    assert (row["executed_by"], row["emulated"], row["partial"]) == ("simulator", False, True)
    assert row["latency"] is None
    assert row["latency_host"] is None
    assert row["verdict"] == "SIMULATED"
    assert row["rank1"]["value"] == exact["rank1"]["value"] == rows["rk*"]["rank1"]["value"]
    told = row["provenance"]["artifact"]
    assert told["calibration"]["by"] == "rknn-toolkit2 9.9"
    assert (told["target"], told["calibration"]["images"]) == ("rk3588", 16)
    assert not [e for e in project.events() if getattr(e, "step", "") == "measure/rk"]
    assert "| RK3588 (partial) | Rockchip | ASIC | RKNN simulator (rknn-toolkit2 9.9) | – |" in (
        (project.latest / "table.md").read_text()
    )
    again = project.farm("run", "--limit", "12")
    assert "nothing was run" in again.stdout, again.stdout
