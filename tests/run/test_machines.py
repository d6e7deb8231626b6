"""An aarch64 userland installed by farm's own command, and rows computed in it over real SSH."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from orchestrator import machines
from tests.run.project import HOST, Project, emulated, entry

pytestmark = [pytest.mark.slow, pytest.mark.needs("apt-get", "dpkg-deb"), pytest.mark.timeout(600)]
MACHINE = "  - {{name: {0}, kind: {1}, transport: {{emulated: {{machine: aarch64}}}}}}\n"
INT8 = "int8 per-channel symmetric"


def test_rows_of_another_processor(tmp_path: Path) -> None:
    """One file on two processors: nothing shared, no Time, compared under `processor`."""
    folder = os.environ.get(machines.VARIABLE) or str(tmp_path / "machines")
    project = Project(tmp_path, {machines.VARIABLE: folder})
    entries = entry("here", INT8) + entry("arm", INT8)
    boards = HOST + emulated("here", "host-cpu") + MACHINE.format("arm", "host-cpu")
    project.write(entries, boards, identities=4, unknown=2)
    matrix = tmp_path / "matrix.yaml"
    # QEMU would be timed for as long as is allowed; a matrix that times nothing says nothing of it.
    matrix.write_text(re.sub(r"measurement:\n.*\n", "", matrix.read_text()))
    if machines.find("aarch64") is None or folder.startswith(str(tmp_path)):
        refused = project.farm("plan")
        assert refused.returncode == 2
        assert "farm boards machine install aarch64" in refused.stderr
        installed = project.farm("boards", "machine", "install", "aarch64", "--yes", timeout=500)
        assert installed.returncode == 0, installed.stdout + installed.stderr
        assert "aarch64 works" in installed.stdout
    ended = project.farm("run", timeout=500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = project.cells()
    arm, here = rows["arm"], rows["here"]
    assert (arm["executed_by"], arm["emulated"], arm["machine"]) == ("emulated", True, "aarch64")
    assert arm["backend"] == "onnxruntime (emulated aarch64)"
    assert here["machine"] == ""
    assert [row["latency"] for row in (arm, here)] == [None] * 2
    assert arm["artifact_sha256"] == here["artifact_sha256"]
    assert arm["provenance"]["keys"]["probe"] != here["provenance"]["keys"]["probe"]
    found = arm["provenance"]["parity"]["processor"]
    assert (found["machine"], found["images"]) == ("aarch64", 6)
    assert found["version"] == found["version_here"]
    # Sums in another order; a file of another model would be far from it.
    assert found["mean_cosine"] > 0.99
    assert "Processor: aarch64" in (project.latest / "table.md").read_text()
    facts = arm["provenance"]["probe"]
    assert "same_features_as" not in facts
