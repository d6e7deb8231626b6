"""Rows of a model's own quantized file: what is executed is that file, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.diagnosis.explain import explain_cell
from orchestrator.errors import UserError
from orchestrator.events import Event
from orchestrator.execution.local_backend import host_plan, run_here
from orchestrator.graphs.sessions import faithful_session
from orchestrator.stages import parity
from orchestrator.stages.quantize import inputs_of
from tests.planning.test_as_given import project, quantized  # noqa: F401

MATRIX = """\
models: face
test_set: {rendered: {identities: 12, unknown: 10}}
calibration: {rendered: {images: 16}}
scoring: {far: 1e-1, table_far: 1e-1, bootstrap: 100}
entries:
  - {name: float, boards: this-host, quantization: float32}
  - {name: nx, boards: nx-lab, quantization: as-given, gallery: [same, float32]}
  - {name: rk, boards: rk, quantization: as-given}
"""


def unheard(event: Event) -> None:
    """Progress is for a person."""


@pytest.mark.slow
def test_twins_execute_the_given_file_itself(tmp_path: Path, quantized: bytes) -> None:  # noqa: F811
    plan = host_plan(project(tmp_path, quantized, MATRIX))
    cells = {cell.name: cell for cell in plan.cells}
    assert {cells[name].probe.executed_by for name in ("nx-lab", "nx-lab*", "rk")} == {"twin"}
    targets = {name: plan.graph.targets[name] for name in cells}
    wanted = [step for t in targets.values() for step in (t.score, t.parity)]
    run_here(plan, wanted, unheard)

    def file(stage: str, step: str, name: str) -> Path:
        held = plan.store.lookup(stage, plan.resolution.keys[step])
        assert held is not None
        return held.folder / name

    images = np.load(file("images", "images/probe", "images.npy"))
    inputs = inputs_of(images, plan.models["face"].input_meta)
    session = faithful_session(quantized, threads=1)
    rows = [session.run(None, {"input": image[None]})[0].reshape(-1) for image in inputs]
    for name in ("nx-lab", "rk"):
        made = np.load(file("extract", targets[name].probe, "features.npy"))
        np.testing.assert_array_equal(made, np.stack(rows))
        stages = plan.store.lookup("parity", plan.resolution.keys[targets[name].parity])
        assert stages is not None
        last = stages.manifest["facts"]["stages"][-1]
        assert (last["stage"], last["to_previous"] > 0.9999) == ("executed by twin", True)
    # Mixed mode enrols with the float32 reference.
    assert targets["nx-lab*"].gallery == targets["this-host"].gallery
    assert targets["nx-lab*"].probe == targets["nx-lab"].probe
    assert len(images) >= parity.IMAGES
    with pytest.raises(UserError, match="farm made none of its scales"):
        explain_cell(plan, cells["rk"], 2, False, unheard)
