"""What stands in for a board when its accuracy is predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.errors import UserError
from orchestrator.execution.local_backend import host_facts, host_plan, run_here, substitute
from orchestrator.request import Request
from orchestrator.specs.inventory import THIS_HOST, Board
from orchestrator.store.features import FeatureWriter
from tests.run.project import FLOAT, HOST, Project


def board(transport: Any, kind: str = "rk3588") -> Board:
    return Board.model_validate({"name": "b", "kind": kind, "transport": transport})


@pytest.mark.parametrize("transport", [{"ssh": {"host": "192.0.2.1"}}, "simulator"])
def test_a_real_or_simulated_board_is_replaced_by_an_emulated_one(transport: Any) -> None:
    given = board(transport)
    found = substitute(given)
    assert found.executed_by == "emulated"
    assert (found.runtime.name, found.runtime.faithful) == ("onnxruntime", None)
    assert found.contention_domain == THIS_HOST
    assert (found.kind, found.hardware) == (given.kind, given.hardware)


def test_this_host_and_emulated_boards_stay_as_they_are() -> None:
    for given in (board("local", "host-cpu"), board("emulated")):
        assert substitute(given) is given


def test_this_hosts_facts_name_the_runtime_that_computes() -> None:
    import onnxruntime

    assert host_facts().runtimes["onnxruntime"] == onnxruntime.__version__


@pytest.mark.parametrize(("value", "reason"), [(0.0, "is zero"), (np.nan, "holds NaN")])
def test_a_feature_that_cannot_be_scored_names_its_image(
    tmp_path: Path, value: float, reason: str
) -> None:
    """Rows of features that a board made, the fifth of which says nothing."""
    project = Project(tmp_path)
    project.write(FLOAT, HOST, identities=8, unknown=4)
    names = ("matrix.yaml", "device_inventory.yaml", ".farm", "runs")
    plan = host_plan(Request(*(str(tmp_path / name) for name in names)))
    (row,) = plan.graph.targets.values()
    step = plan.graph.steps[row.score]
    run_here(
        plan, [step.inputs["gallery_images"], step.inputs["probe_images"], row.artifact], ignore
    )
    for role, bad in (("gallery", None), ("probe", 5)):
        key = plan.resolution.keys[step.inputs[role]]
        count = plan.graph.steps[step.inputs[role]].units
        rows = np.random.default_rng(1).normal(size=(count, 512)).astype(np.float32)
        if bad is not None:
            rows[bad] = value
        with FeatureWriter.open(plan.store.part("extract", key), count, 512, "float32", {}) as file:
            file.write(0, rows)
            file.finish()
        plan.store.commit("extract", key, provenance={}, facts={})
    plan.forget()
    plan.resolve()
    with pytest.raises(UserError) as error:
        run_here(plan, [row.score], ignore)
    name = plan.rows["synthface-ir", "probe"].names[5]
    assert f"probes: feature row 5 (identity 5) {reason}" in error.value.message
    assert error.value.message.endswith(f": {name}")


def ignore(event: object) -> None:
    """Nothing is shown."""
