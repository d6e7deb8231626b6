"""What earlier runs saw of boards: which of it still counts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from orchestrator.execution.local_backend import host_facts
from orchestrator.planning.facts import BoardFacts
from orchestrator.preflight.caches import FactsFile
from orchestrator.specs.inventory import load_inventory

VIRTUAL = {"compatible": ["linux,dummy-virt"], "cores": ["0x41 0xd08"]}


@pytest.mark.parametrize(
    ("identity", "counts"),
    [
        ({}, True),
        ({"compatible": ["khadas,vim3"]}, True),
        # Told before agents told who executes: it may be an emulator's, so the board is asked.
        (VIRTUAL, False),
        ({"firmware": ["QEMU", "Standard PC"]}, False),
        (VIRTUAL | {"execution": {"v": 1}}, True),
    ],
)
def test_a_virtual_machine_of_before_is_asked_again(
    tmp_path: Path, identity: dict[str, object], counts: bool
) -> None:
    path = tmp_path / "device_inventory.yaml"
    path.write_text("boards:\n  - {name: b, kind: host-cpu, transport: {ssh: {host: h}}}\n")
    (board,) = load_inventory(path).boards
    facts = BoardFacts("aarch64", "core", "3.11", {"onnxruntime": "1.32.0"}, "", identity)
    FactsFile(tmp_path).save([(board, facts)])
    assert FactsFile(tmp_path).load({"b": board}) == ({"b": facts} if counts else {})


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({}, True),
        ({"cpu": "of the computer that the project was copied from"}, False),
        ({"machine": "riscv64"}, False),
        ({"runtimes": {"onnxruntime": "0.1"}}, False),
        ({"runtimes": {"onnxruntime": "", "tengine": "1"}}, False),
    ],
)
@pytest.mark.parametrize(
    ("place", "here"),
    [
        ("kind: host-cpu, transport: local", True),
        ("kind: khadas-vim3, transport: emulated", True),
        ("kind: host-cpu, transport: local, python: /opt/other/bin/python3", False),
        ("kind: khadas-vim3, transport: {emulated: {machine: aarch64}}", False),
        ("kind: khadas-vim3, transport: {ssh: {host: h}}", False),
        ("kind: rk3588, transport: simulator", False),  # in its toolkit's own environment
    ],
)
def test_a_board_that_this_computer_executes_is_held_against_it(
    tmp_path: Path, place: str, here: bool, change: dict[str, object], counts: bool
) -> None:
    path = tmp_path / "device_inventory.yaml"
    path.write_text(f"boards:\n  - {{name: b, {place}}}\n")
    (board,) = load_inventory(path).boards
    facts = dataclasses.replace(host_facts(), **change)  # type: ignore[arg-type]
    FactsFile(tmp_path).save([(board, facts)])
    known = FactsFile(tmp_path).load({"b": board})
    assert known == ({"b": facts} if counts or not here else {})
