"""Emulated boards with another processor: read, refused, told apart in plans and keys."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import installations, machines
from orchestrator.cli.main import main
from orchestrator.errors import UserError
from orchestrator.execution.local_backend import host_plan
from orchestrator.fleet.boards.entry import identity
from orchestrator.hashing import digest
from orchestrator.planning import facts
from orchestrator.planning.facts import identity_of
from orchestrator.preflight.planner import Plan, encoder_backend, make_plan
from orchestrator.request import Request
from orchestrator.specs.inventory import Board, load_inventory

pytestmark = pytest.mark.usefixtures("few_images")

MATRIX = """\
models: synthface-ir
test_set: {rendered: {seed: 0, identities: 4, unknown: 2}}
scoring: {far: [1e-1], table_far: 1e-1}
entries:
  - {name: all, boards: {kind: host-cpu}, quantization: float32}
"""
BOARDS = """\
boards:
  - {name: here, kind: host-cpu, transport: emulated}
  - {name: arm, kind: host-cpu, transport: {emulated: {machine: aarch64}}}
"""


REQUEST = Request("matrix.yaml", "device_inventory.yaml", ".farm", "runs")


def board(transport: Any, kind: str = "host-cpu") -> Board:
    return Board.model_validate({"name": "b", "kind": kind, "transport": transport})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    """A project in the current folder, without any machine installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(machines.VARIABLE, str(tmp_path / "machines"))
    Path("matrix.yaml").write_text(MATRIX)
    Path("device_inventory.yaml").write_text(BOARDS)
    return REQUEST


def plan_with(project: Request) -> Plan:
    """The plan once aarch64 counts as installed: the plan looks no further than at its record."""
    folder = machines.folder_of("aarch64")
    (folder / "bin").mkdir(parents=True)
    machine = machines.Machine(
        "aarch64", str(folder), "/bin/sh", "/bin/sh", "/bin", "qemu 7", "cortex-a72"
    )
    (folder / installations.RECORD).write_text(json.dumps(machine.to_json()))
    return make_plan(project)


def test_what_is_hashed_of_a_board_without_a_machine_is_as_before() -> None:
    plain = board("emulated")
    assert identity_of(plain) == {"name": "b", "transport": {"type": "emulated"}}
    arm = board({"emulated": {"machine": "aarch64"}})
    assert identity_of(arm)["transport"] == {"type": "emulated", "machine": "aarch64"}
    assert identity(arm) != identity(plain)


@pytest.mark.parametrize("form", ["emulated", {"emulated": None}, {"emulated": {}}])
def test_every_form_of_emulated_fuses_only_what_is_exact(form: Any) -> None:
    assert board(form) == board("emulated")
    assert board(form).runtime.faithful is None


@pytest.mark.parametrize("exact", [True, False])
def test_features_are_keyed_by_what_the_processor_fuses(
    exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "_integers_are_exact", lambda: exact)
    arm = board({"emulated": {"machine": "armv7l"}})
    said = [facts.runtime_options(b, "onnxruntime")["faithful"] for b in (board("emulated"), arm)]
    assert said == [None if exact else True, True]
    asked = Board.model_validate(
        {"name": "b", "kind": "host-cpu", "transport": "emulated", "runtime": {"faithful": False}}
    )
    assert facts.runtime_options(asked, "onnxruntime")["faithful"] is False


def test_a_machine_has_its_own_python_and_is_named() -> None:
    arm = board({"emulated": {"machine": "armv7l"}})
    assert (arm.machine, arm.python, arm.hardware) == ("armv7l", "python3", "A computer (armv7l)")
    assert arm.runtime.faithful is None
    assert arm.executed_by == "emulated"
    assert board({"emulated": {"machine": "aarch64"}}, "rk3588").hardware != "A computer (aarch64)"


@pytest.mark.parametrize(
    ("transport", "kind", "words"),
    [
        ({"emulated": {"machine": "aarch64"}}, "rv1126", "has armv7l, not aarch64"),
        ({"emulated": {"machine": "armv7"}}, "host-cpu", "armv7l"),
        ({"local": {"machine": "aarch64"}}, "host-cpu", "machine"),
    ],
)
def test_a_processor_that_the_board_cannot_have_is_refused(
    transport: Any, kind: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "device_inventory.yaml"
    entry = {"name": "b", "kind": kind, "transport": transport}
    file.write_text(json.dumps({"boards": [entry]}))
    with pytest.raises(UserError, match=words):
        load_inventory(file)


@pytest.mark.parametrize("command", [("plan",), ("run", "matrix.yaml")])
def test_without_its_processor_nothing_begins(
    command: tuple[str, ...], project: Request, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*command]) == 2
    said = capfd.readouterr().err
    assert "device_inventory.yaml:3: arm is emulated as aarch64, which is not installed" in said
    assert "farm boards machine install aarch64" in said
    assert not Path("runs").exists()


def test_rows_that_do_not_use_the_board_are_planned_without_it(project: Request) -> None:
    plan = make_plan(replace(project, only=("here",)))
    assert {cell.board for cell in plan.cells} == {"here"}


def test_two_processors_share_neither_row_nor_key(project: Request) -> None:
    plan = plan_with(project)
    here, arm = plan.cells
    assert (here.board, arm.board) == ("here", "arm")
    assert encoder_backend(here.probe) == "onnxruntime (emulated)"
    assert encoder_backend(arm.probe) == "onnxruntime (emulated aarch64)"
    steps = [plan.graph.steps[plan.graph.targets[cell.name].probe] for cell in (here, arm)]
    # Even where both boards' agents told the same of runtime and processor.
    params = [{**step.params, "runtime": {"machine": "x86_64"}} for step in steps]
    assert digest(params[0]) != digest(params[1])
    assert "emulated_machine" not in params[0]
    work = {plan._work(step).to_text() for step in steps}
    assert len(work) == 2


def test_a_prediction_needs_no_processor_and_does_not_claim_one(project: Request) -> None:
    """This process computes it, on this host's own."""
    plan = host_plan(project)
    assert {board.machine for board in plan.boards.values()} == {""}
    assert {encoder_backend(cell.probe) for cell in plan.cells} == {"onnxruntime (emulated)"}
    assert {board.hardware for board in plan.boards.values()} == {"This host"}
