"""Who may help an emulated board from outside its pool: those that compute what it computes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.planning.graph import Step
from orchestrator.planning.spares import spares
from orchestrator.planning.stage_facts import SHARED_FROM
from orchestrator.specs.inventory import Board

WORK = Step(
    "extract/a/probe",
    "extract",
    board="a",
    pool=("a",),
    executed_by="twin",
    units=SHARED_FROM,
    extra={"runtime": "onnxruntime"},
)


def board(name: str, kind: str, transport: Any = "emulated", **more: Any) -> Board:
    return Board.model_validate({"name": name, "kind": kind, "transport": transport, **more})


BOARDS = {
    each.name: each
    for each in (
        board("host", "host-cpu", "local"),
        board("a", "khadas-vim3"),
        board("b", "imx8mp"),
        board("threads", "imx8mp", runtime={"name": "onnxruntime", "threads": 2}),
        board("arm", "imx8mp", {"emulated": {"machine": "aarch64"}}),
        board("elsewhere", "imx8mp", contention_domain="other"),
        board("real", "khadas-vim3", {"ssh": {"host": "127.0.0.1", "user": "u"}}),
    )
}


def test_emulated_boards_with_the_same_runtime_and_options_may_help() -> None:
    assert spares([WORK], BOARDS) == {WORK.id: ("a", "b")}


def test_a_real_board_this_host_and_a_simulator_get_none() -> None:
    for name, executed_by in (("real", "board"), ("host", "board"), ("a", "simulator")):
        step = replace(WORK, board=name, pool=(name,), executed_by=executed_by)
        assert spares([step], BOARDS) == {}


def test_what_is_short_is_not_worth_another_board() -> None:
    assert spares([replace(WORK, units=SHARED_FROM - 1)], BOARDS) == {}
    assert spares([replace(WORK, stage="measure")], BOARDS) == {}
