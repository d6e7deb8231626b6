"""What stands in for a board when its accuracy is predicted."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.execution.local_backend import host_facts, substitute
from orchestrator.specs.inventory import THIS_HOST, Board


def board(transport: Any, kind: str = "rk3588") -> Board:
    return Board.model_validate({"name": "b", "kind": kind, "transport": transport})


@pytest.mark.parametrize("transport", [{"ssh": {"host": "192.0.2.1"}}, "simulator"])
def test_a_real_or_simulated_board_is_replaced_by_an_emulated_one(transport: Any) -> None:
    given = board(transport)
    found = substitute(given)
    assert found.executed_by == "emulated"
    assert (found.runtime.name, found.runtime.faithful) == ("onnxruntime", True)
    assert found.contention_domain == THIS_HOST
    assert (found.kind, found.hardware) == (given.kind, given.hardware)


def test_this_host_and_emulated_boards_stay_as_they_are() -> None:
    for given in (board("local", "host-cpu"), board("emulated")):
        assert substitute(given) is given


def test_this_hosts_facts_name_the_runtime_that_computes() -> None:
    import onnxruntime

    assert host_facts().runtimes["onnxruntime"] == onnxruntime.__version__
