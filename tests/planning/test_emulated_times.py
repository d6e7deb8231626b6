"""Emulated boards are timed only where the matrix asks for it, and all else stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.execution.local_backend import host_facts
from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.reporting.board_words import where
from orchestrator.request import Request
from orchestrator.specs.inventory import load_inventory

ROOT = Path(__file__).resolve().parents[2]


def planned(folder: Path, measurement: str) -> Plan:
    folder.mkdir()
    text = (ROOT / "matrix.yaml").read_text()
    assert "measurement:" in text
    (folder / "models").symlink_to(ROOT / "models")
    (folder / "matrix.yaml").write_text(text.replace("measurement:", measurement, 1))
    words = (folder / "matrix.yaml", ROOT / "device_inventory.yaml", folder / "s", folder / "r")
    return make_plan(Request(*map(str, words)), facts=host_facts())


@pytest.fixture
def plans(tmp_path: Path) -> tuple[Plan, Plan]:
    usual = planned(tmp_path / "usual", "measurement:")
    return usual, planned(tmp_path / "timed", "measurement:\n  emulated: true")


def test_only_the_measure_steps_of_emulated_boards_are_left_out(plans: tuple[Plan, Plan]) -> None:
    usual, timed = plans
    gone = timed.graph.steps.keys() - usual.graph.steps.keys()
    emulated = [cell for cell in timed.cells if cell.probe.executed_by != "board"]
    assert gone == {f"measure/{cell.probe.name}" for cell in emulated}
    assert len(gone) == 4
    assert "measure/this-host" in usual.graph.steps
    for name, step in usual.graph.steps.items():
        assert step.params == timed.graph.steps[name].params, name
        assert step.inputs == timed.graph.steps[name].inputs, name
    assert "emulated" not in timed.graph.steps["measure/this-host"].params["policy"]


def test_an_emulated_board_is_called_so_where_boards_are_listed() -> None:
    places = {b.name: where(b) for b in load_inventory(ROOT / "device_inventory.yaml").boards}
    assert places["this-host"] == "this host"
    assert places["khadas-vim3"] == "emulated on this host"


def test_a_boards_address_and_transport_are_listed(tmp_path: Path) -> None:
    ssh = "{ssh: {host: 192.0.2.7, port: 2222, user: khadas}}"
    path = tmp_path / "device_inventory.yaml"
    path.write_text(f"boards:\n  - {{name: a, kind: khadas-vim3, transport: {ssh}}}\n")
    assert where(load_inventory(path).boards[0]) == "ssh khadas@192.0.2.7:2222"
