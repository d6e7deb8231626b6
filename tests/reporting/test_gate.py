"""Comparing and gating: what is real fails, what is noise passes, what cannot be told is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import UserError
from orchestrator.reporting.analysis.compare import compare_runs, grouped, ratio_interval
from orchestrator.reporting.analysis.gate import Judgement, SecondLook, judge, parse_limits
from orchestrator.reporting.analysis.history import Run, load_run
from orchestrator.reporting.analysis.pairing import Slower, normal_p
from orchestrator.reporting.tables.published import NOT_COMPARABLE, load_published
from orchestrator.stages.score import SEARCHES

from .made import T0, Row, Size, make_run

REF = Row("ref", "This host", "host", reference=True, noise=0.8, median_ms=4.0)
BASE = [REF, Row("x", lot=1)]
BIG = Size(1000, 300)


def run(root: Path, name: str, *rows: Row, at: float = T0, size: Size | None = None) -> Run:
    return load_run(make_run(root, name, [REF, *rows], at=at, size=size))


def gate(first: Run, second: Run, drops: list[str], slower: list[str] | None = None) -> Judgement:
    return judge(compare_runs(first, second), second, parse_limits(drops, slower or []))


def test_equal_searches_are_told_equal_and_pass(tmp_path: Path) -> None:
    first, second = run(tmp_path, "a", Row("x")), run(tmp_path, "b", Row("x"), at=T0 + 1e4)
    found = compare_runs(first, second)
    assert [pair.kind for pair in found.rows] == ["equal", "equal"]
    judged = gate(first, second, ["rank1=0", "tar=0"], ["p50=0%"])
    assert judged.passed
    assert judged.judged == 6
    assert judged.warnings == ()


def test_a_planted_fall_fails_and_names_row_rate_and_limit(tmp_path: Path) -> None:
    first = run(tmp_path, "a", Row("x", lot=1), size=BIG)
    second = run(tmp_path, "b", Row("x", lot=1, noise=1.05), size=BIG)
    judged = gate(first, second, ["rank1=0.5"])
    assert len(judged.failures) == 1
    assert judged.failures[0].startswith("x: rank1 changed by -")
    assert "more than 0.5 allowed" in judged.failures[0]
    pair = compare_runs(first, second).rows[1]
    assert pair.kind == "paired"
    before, after = first.row("x"), second.row("x")
    assert before is not None
    assert after is not None
    assert pair.changes["rank1"].value == pytest.approx(after.rank1.value - before.rank1.value)
    assert pair.lost - pair.gained == pytest.approx(-1000 * pair.changes["rank1"].value)
    assert gate(first, second, ["rank1=60"]).passed


def test_a_rise_is_no_fall(tmp_path: Path) -> None:
    first = run(tmp_path, "a", Row("x", noise=1.2))
    second = run(tmp_path, "b", Row("x", noise=0.7))
    assert gate(first, second, ["rank1=0", "tar=0"]).passed


def test_noise_passes_and_too_few_probes_are_said(tmp_path: Path) -> None:
    first, second = run(tmp_path, "a", Row("x", lot=1)), run(tmp_path, "b", Row("x", lot=2))
    judged = gate(first, second, ["rank1=0.5"])
    assert judged.passed
    assert any("cannot show a fall of 0.5 points" in text for text in judged.warnings)


def test_a_slower_board_fails_only_beyond_the_limit(tmp_path: Path) -> None:
    first = run(tmp_path, "a", Row("x", median_ms=20))
    second = run(tmp_path, "b", Row("x", median_ms=24, time_lot=5))
    judged = gate(first, second, [], ["p50=10%"])
    assert len(judged.failures) == 1
    assert "x: p50 +" in judged.failures[0]
    assert "not confirmed by measuring again" in judged.failures[0]
    assert gate(first, second, [], ["p50=30%"]).passed
    assert gate(second, first, [], ["p50=10%"]).passed


@pytest.mark.parametrize("ratio", [1.2, 1.0])
@pytest.mark.parametrize("doubts", [(), ("throttled: cpu at step 3",)])
def test_a_second_look_in_doubt_neither_confirms_nor_clears(
    tmp_path: Path, ratio: float, doubts: tuple[str, ...]
) -> None:
    first = run(tmp_path, "a", Row("x", median_ms=20))
    second = run(tmp_path, "b", Row("x", median_ms=24, time_lot=5))
    found = SecondLook({50: Slower(ratio, ratio - 0.01, ratio + 0.01)}, doubts)
    limits = parse_limits([], ["p50=10%"])
    judged = judge(compare_runs(first, second), second, limits, lambda pair: found)
    (said,) = judged.failures or judged.warnings
    if doubts:
        assert not judged.passed
        assert "; undecided: " in said
        assert said.endswith("measured again, interleaved, but SUSPECT: throttled: cpu at step 3")
    else:
        assert judged.passed is (ratio == 1.0)
        assert ("not confirmed" in said) is (ratio == 1.0)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (Row("x", executed_by="emulated", median_ms=90), "EMULATED"),
        (Row("x", spread=0.9, median_ms=90), "SUSPECT"),
        (Row("x", board="another", median_ms=90), "different boards: vim3 and another"),
    ],
)
def test_rows_without_a_comparable_time_are_left_out_of_latency(
    tmp_path: Path, row: Row, why: str
) -> None:
    first, second = run(tmp_path, "a", Row("x")), run(tmp_path, "b", row)
    judged = gate(first, second, [], ["p50=10%"])
    assert judged.passed
    assert judged.judged == 1  # the reference
    assert len(judged.left_out) == 1
    assert why in judged.left_out[0]


def test_a_row_that_lost_its_result_fails(tmp_path: Path) -> None:
    first, second = run(tmp_path, "a", Row("x")), run(tmp_path, "b", Row("x", fails="no power"))
    judged = gate(first, second, ["rank1=0.5"])
    assert judged.failures == ("x: has a result in a, none now: no power",)


def test_a_gate_that_can_judge_nothing_does_not_pass(tmp_path: Path) -> None:
    first = run(tmp_path, "a", Row("x"))
    second = run(tmp_path, "b", Row("x"), size=Size(200, 100))
    judged = gate(first, second, ["rank1=0.5"])
    assert "nothing could be judged" in judged.failures[0]
    assert "all rows: accuracy not judged: different test sets: not comparable" in judged.warnings
    pair = compare_runs(first, second).rows[0]
    assert not pair.changes


def test_without_stored_searches_intervals_are_wider_and_it_is_said(tmp_path: Path) -> None:
    first, second = run(tmp_path, "a", Row("x")), run(tmp_path, "b", Row("x", noise=0.95))
    paired = compare_runs(first, second).rows[1]
    held = second.held(second.results[1], "score")
    assert held is not None
    held.file(SEARCHES).unlink()
    alone = compare_runs(first, second).rows[1]
    assert (paired.kind, alone.kind) == ("paired", "unpaired")
    before, after = paired.changes["rank1"], alone.changes["rank1"]
    assert after.value == pytest.approx(before.value)
    assert after.low < before.low
    assert "not paired" in alone.why


@pytest.mark.parametrize(
    ("drops", "slower", "says"),
    [
        (["rank2=1"], [], "there are: rank1, tar"),
        (["rank1"], [], "for example --max-drop rank1=0.5"),
        (["rank1=-1"], [], "'-1' is no number"),
        ([], ["p95=3%"], "there are: p50, p90, p99"),
        ([], ["p50=10"], "write p50=10%"),
        ([], [], "nothing to judge by"),
    ],
)
def test_mistyped_limits_are_answered(drops: list[str], slower: list[str], says: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_limits(drops, slower)
    assert says in str(raised.value)


def test_the_comparison_is_plain_json(tmp_path: Path) -> None:
    first, second = run(tmp_path, "a", Row("x")), run(tmp_path, "b", Row("x", lot=4), Row("y"))
    text = json.dumps(compare_runs(first, second).to_json(), allow_nan=False)
    data = json.loads(text)
    assert data["only_second"] == ["y"]
    assert data["rows"][1]["rank1"]["real"] is False
    assert set(data["rows"][1]["time"]) == {"p50", "p90", "p99"}


def test_the_published_table_is_as_printed_and_not_subtracted() -> None:
    published = load_published()
    assert len(published.rows) == 8
    row = published.row("RV1126*")
    assert row is not None
    assert (row.time_ms, row.rank1, row.tar) == (38, 77.82, 26.30)
    assert NOT_COMPARABLE == "different model and test set: not comparable"


def test_ratio_interval_covers_a_true_ratio_of_correlated_times() -> None:
    """Times that drift together: the interval holds the truth about as often as it says."""
    random = np.random.default_rng(3)
    inside = 0
    for _ in range(60):
        walks = []
        for scale in (10.0, 11.0):
            shock = random.normal(size=600)
            wave = np.empty(600)
            wave[0] = shock[0]
            for i in range(1, 600):
                wave[i] = 0.5 * wave[i - 1] + shock[i]
            walks.append(scale * np.exp(0.02 * wave))
        low, high = ratio_interval(walks[0], walks[1], 50, resamples=200)
        inside += low <= 1.1 <= high
    assert inside >= 51  # 85 %: binomial noise of 60 trials around 90 to 95 %


def test_p_from_an_interval() -> None:
    assert normal_p(0.0, -0.1, 0.1) == 1.0
    assert normal_p(-0.1, -0.2, 0.0) == pytest.approx(0.05, abs=1e-3)
    assert normal_p(0.0, 0.0, 0.0) == 1.0


def test_rows_with_one_reason_share_a_line() -> None:
    assert grouped([("a", "x"), ("b", "y"), ("c", "x")]) == ["a, c: x", "b: y"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("pairs", [20, pytest.param(100, marks=pytest.mark.soak)])
def test_false_alarms_and_detections(tmp_path: Path, pairs: int) -> None:
    """Pairs that differ by noise alone, and as many with a planted fall of some 4 points."""
    alarms = found = 0
    for number in range(pairs):
        x, y = Row("x", lot=10 + 4 * number), Row("y", lot=11 + 4 * number)
        base = run(tmp_path, f"b{number}", x, y, size=BIG)
        again = Row("y", lot=13 + 4 * number)
        noise = run(tmp_path, f"n{number}", Row("x", lot=12 + 4 * number), again, size=BIG)
        fallen = Row("x", lot=12 + 4 * number, noise=0.97)
        worse = run(tmp_path, f"w{number}", fallen, again, size=BIG)
        alarms += not gate(base, noise, ["rank1=0.5"]).passed
        found += not gate(base, worse, ["rank1=0.5"]).passed
    print(f"false alarms {alarms} of {pairs}, detections {found} of {pairs}")
    assert alarms <= 0.1 * pairs
    assert found >= 0.9 * pairs
