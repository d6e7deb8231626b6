"""What the times of two models are worth together."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.execution.detector_result import timed_together


def facts(verdict: str, reason: str = "", *notes: str) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "reason": reason,
        "reasons": [reason] if reason else [],
        "notes": list(notes),
        "timing_valid": verdict in ("VALID", "SUSPECT"),
    }


@pytest.mark.parametrize(
    ("recognizer", "detector", "verdict", "reason", "valid"),
    [
        (facts("VALID"), facts("VALID"), "VALID", "", True),
        (facts("VALID"), facts("SUSPECT", "hot: 90"), "SUSPECT", "detector: hot: 90", True),
        (facts("SUSPECT", "noisy: 3"), facts("VALID"), "SUSPECT", "noisy: 3", True),
        (
            facts("SUSPECT", "noisy: 3"),
            facts("SUSPECT", "hot: 90"),
            "SUSPECT",
            "noisy: 3; detector: hot: 90",
            True,
        ),
        (facts("VALID"), facts("EMULATED", "this host"), "EMULATED", "detector: this host", False),
    ],
)
def test_the_worse_verdict_counts_and_says_whose_it_is(
    recognizer: dict[str, Any], detector: dict[str, Any], verdict: str, reason: str, valid: bool
) -> None:
    found = timed_together(recognizer, detector)
    assert (found["verdict"], found["reason"]) == (verdict, reason)
    assert found["timing_valid"] is valid
    expected = recognizer["reasons"] + [f"detector {each}" for each in detector["reasons"]]
    assert found["reasons"] == expected


def test_notes_of_both_are_told_once() -> None:
    found = timed_together(facts("VALID", "", "a", "b"), facts("VALID", "", "b", "c"))
    assert found["notes"] == ["a", "b", "c"]
