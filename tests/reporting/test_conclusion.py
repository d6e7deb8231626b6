"""The sentence of conclusion, over made rows of every sort."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import results
from orchestrator.reporting.analysis.conclusion import conclusion
from orchestrator.results import (
    AuditFinding,
    CellResult,
    Difference,
    Estimate,
    Tar,
)

SET = results.TestSetResult(hash="a" * 64, gallery=3000, probes=4000, mated=3000, unknown=1000)


def row(name: str, points: float | None = None, half: float = 0.4, **more: Any) -> CellResult:
    """A row; `points`: its Rank-1 minus float32's, `half`: half of that interval."""
    p = more.pop("p", None)
    rate = more.pop("rate", 0.8)
    found = None
    if points is not None:
        change = Estimate(value=points / 100, low=(points - half) / 100, high=(points + half) / 100)
        real = None if p is None else p < 0.05
        found = Difference(
            rank1=change,
            tar=change,
            only_reference=1,
            only_cell=1,
            p=0.5 if p is None else p,
            p_holm=p,
            real=real,
        )
    usual: dict[str, Any] = dict(
        name=name,
        hardware=name,
        provider="-",
        type="ASIC",
        backend="b",
        board=name,
        kind="k",
        executed_by="board",
        emulated=False,
        granularity=None,
        symmetry=None,
        dtype="float32" if points is None else "int8",
        calibrator=None,
        mixed=False,
        model="m",
        test_set=SET,
        rank1=Estimate(value=rate, low=None, high=None),
        tar=Tar(
            value=0.5, low=None, high=None, far_target=1e-3, far_achieved=1e-3, k=1, threshold=0.1
        ),
        difference=found,
        verdict="VALID",
        artifact_sha256="b" * 64,
        artifact_bytes=1,
    )
    return CellResult(**(usual | more))


REF = row("ref")
LEAK = SET.model_copy(
    update={
        "audit": [
            AuditFinding(
                kind="same-image", severity="leak", count=3, sentence="3 probes", allowed=True
            )
        ]
    }
)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [REF, row("a", -0.3, p=0.6)],
            "INT8 costs 0.3 ± 0.4 points of Rank-1; that is not significant (p = 0.6).",
        ),
        (
            [REF, row("a", -0.3, p=0.6), row("b", -0.3, 0.6, p=1.0)],
            "INT8 costs 0.3 ± 0.6 points of Rank-1; no row differs significantly from float32.",
        ),
        (
            [REF, row("a", -0.1, p=1.0), row("b", -0.8, p=0.2, dtype="uint8")],
            "8-bit quantization costs 0.1 to 0.8 points of Rank-1; no row differs significantly "
            "from float32.",
        ),
        (
            [REF, row("a", 0.0, 0.0, p=1.0), row("b", 0.0, 0.0, p=1.0)],
            "INT8 costs no Rank-1 in any row; no row differs significantly from float32.",
        ),
        (
            [REF, row("a", -0.1, p=1.0), row("b", -0.8, 0.3, p=0.002), row("c", -0.7, p=0.01)],
            "INT8 costs 0.1 to 0.8 points of Rank-1; 2 of 3 rows are significantly worse than "
            "float32 (b most: −0.8 ± 0.3).",
        ),
        (
            [REF, row("a", -2.0, 0.5, p=1e-5), row("b", -3.0, 0.5, p=1e-9)],
            "INT8 costs 2.0 to 3.0 points of Rank-1; both rows are significantly worse than "
            "float32 (b most: −3.0 ± 0.5).",
        ),
        (
            [REF, row("a", -2.0, 0.5, p=1e-5)],
            "INT8 costs 2.0 ± 0.5 points of Rank-1; that is significantly worse than float32 "
            "(p < 0.001).",
        ),
        (
            [REF, row("a", 0.9, p=0.01), row("b", -0.2, p=1.0)],
            "INT8 changes Rank-1 by −0.2 to +0.9 points; 1 of 2 rows is significantly better than "
            "float32.",
        ),
        (
            [REF, row("a", 0.9, p=0.01), row("b", -0.9, 0.3, p=0.01)],
            "INT8 changes Rank-1 by −0.9 to +0.9 points; 1 of 2 rows is significantly worse and "
            "1 significantly better than float32 (b most: −0.9 ± 0.3).",
        ),
        (
            [REF, row("a", 0.4, p=0.5)],
            "INT8 gains 0.4 ± 0.4 points of Rank-1; that is not significant (p = 0.5).",
        ),
        (
            [REF, row("a", -0.3, dtype="float16")],
            "FLOAT16 costs 0.3 ± 0.4 points of Rank-1; whether that is significant was not tested.",
        ),
        (
            [REF, row("a", 0.0, 0.0, p=1.0, dtype="float32")],
            "float32 on a costs no Rank-1; that is not significant (p = 1).",
        ),
        ([REF], "Rank-1 of float32 is 80.0 %; no quantized row is there to compare."),
        (
            [row("a", dtype="int8"), row("b", dtype="int8", rate=0.9)],
            "Rank-1 is 80.0 to 90.0 %; no float32 row is there to compare with.",
        ),
        ([row("a", rate=None)], "Rank-1 is not known: no probe is of an enrolled person."),
    ],
)
def test_what_quantization_costs_and_whether_it_matters(rows: list[CellResult], said: str) -> None:
    assert conclusion(rows) == said


def test_what_limits_the_sentence_stands_in_it() -> None:
    limited = row("a", -0.3, p=0.6, partial=True, warnings=["no scale"])
    assert conclusion([REF, limited], 5) == (
        "INT8 costs 0.3 ± 0.4 points of Rank-1; that is not significant (p = 0.6); on a part of "
        "the test set; 3 of 5 rows have no result; 1 row has warnings."
    )
    leaking = row("a", -0.3, p=0.6, test_set=LEAK)
    assert conclusion([REF, leaking]).endswith("; the test set leaks: the figures say too much.")
    assert conclusion([REF], 2).endswith("; 1 of 2 rows has no result.")


def test_without_a_row_it_says_so() -> None:
    assert conclusion([], 8) == "None of 8 rows has a result."
    assert conclusion([]) == "No row has a result."
