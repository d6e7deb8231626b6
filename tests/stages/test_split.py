"""The loss of two models parted between them: from features whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.data.features import Features
from orchestrator.stages.score import saved, search
from orchestrator.stages.split import split, summary

POLICY = {"far": [0.1], "table_far": 0.1, "confidence": 0.95, "seed": 0, "bootstrap": 100}
PEOPLE = 8


def searches(missed: set[int]) -> bytes:
    """Everybody is found, apart from those whose probe is another person's face."""
    rows = np.eye(PEOPLE, dtype=np.float32)
    ids = [str(n) for n in range(PEOPLE)]
    gallery = Features(rows, np.zeros(PEOPLE, bool), ids)
    probes = rows.copy()
    for who in missed:
        probes[who] = rows[(who + 1) % PEOPLE]
    found, _ = search(gallery, Features(probes, np.zeros(PEOPLE, bool), ids), "mean")
    return saved(found)


def test_each_model_alone_is_charged_with_the_probes_that_it_loses() -> None:
    alone = {"detector": searches({0, 1, 2}), "recognizer": searches({2})}
    facts = split(searches({7}), alone, POLICY).facts
    detector, recognizer = facts["detector"], facts["recognizer"]
    assert detector["rank1"]["value"] == pytest.approx(-2 / PEOPLE)
    assert (detector["only_reference"], detector["only_cell"]) == (3, 1)
    assert recognizer["rank1"]["value"] == pytest.approx(0)
    assert (recognizer["only_reference"], recognizer["only_cell"]) == (1, 1)
    assert detector["rank1"]["low"] < detector["rank1"]["value"] < detector["rank1"]["high"]
    # 3 lost against 1 gained: the exact McNemar test of 4 coins.
    assert detector["p"] == pytest.approx(0.625)
    assert summary(facts) == "Rank-1 by detector -25.00, recognizer +0.00 points"
