"""Which boards compute as many images at a time as this host has processors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.execution.local_backend import host_facts
from orchestrator.planning.facts import computes_at_a_time
from orchestrator.preflight.planner import make_plan
from orchestrator.request import Request
from orchestrator.specs.inventory import Board

ROOT = Path(__file__).resolve().parents[2]
OVER_SSH = {"ssh": {"host": "127.0.0.1", "user": "u"}}


@pytest.mark.parametrize(
    ("expected", "transport", "more"),
    [
        (True, "local", {}),
        (False, "local", {"runtime": {"name": "onnxruntime", "threads": 2}}),
        (
            False,
            "local",
            {"runtime": {"name": "onnxruntime", "providers": ["CUDAExecutionProvider"]}},
        ),
        (False, "local", {"contention_domain": "other"}),
        (False, "emulated", {}),
        (False, OVER_SSH, {}),
    ],
)
def test_only_this_host_does_with_a_processor_for_each(
    expected: bool, transport: Any, more: dict[str, Any]
) -> None:
    entry = {"name": "a", "kind": "host-cpu", "transport": transport, **more}
    assert computes_at_a_time(Board.model_validate(entry), "onnxruntime") is expected


def test_it_decides_no_key_and_every_reader_of_events_is_told(tmp_path: Path) -> None:
    files = (ROOT / "matrix.yaml", ROOT / "device_inventory.yaml", tmp_path / "s", tmp_path / "r")
    plan = make_plan(Request(*map(str, files)), facts=host_facts())
    wide = {info.id for info in plan.step_infos() if info.all_processors}
    assert {name for name in wide if name.startswith("extract/")} == {
        "extract/this-host/gallery",
        "extract/this-host/probe",
    }
    assert {"images/probe", "calibrate/minmax"} <= wide
    assert not any("all_processors" in step.params for step in plan.graph.steps.values())
