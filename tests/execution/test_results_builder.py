"""What a row says of itself."""

from __future__ import annotations

import pytest

from orchestrator.execution.results_builder import EMULATED, SIMULATED
from orchestrator.results import Verdict


@pytest.mark.parametrize("untimed", [EMULATED, SIMULATED])
def test_the_reason_of_a_row_without_a_time_does_not_repeat_its_verdict(
    untimed: dict[str, str],
) -> None:
    """`farm compare`, the report and exports show one after the other."""
    assert untimed["verdict"] in Verdict
    said = f"{untimed['verdict']} ({untimed['reason']})"
    assert said.lower().count(untimed["verdict"].lower()) == 1, said
