"""The table's honesty: what may stand in a column, and what must be said beside it."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cli.results.compare import notes
from orchestrator.events import CellFinished, CellInfo, RunStarted
from orchestrator.reporting.analysis.compare import RunComparison
from orchestrator.reporting.analysis.pairing import RowPair
from orchestrator.reporting.export.files import results_of
from orchestrator.reporting.live.state import RunState
from orchestrator.reporting.tables.table import footnotes, markdown, parts, processor_words, row
from orchestrator.results import CellResult

TIMES = dict(
    count=200, min_ms=1.0, p50_ms=4.321, p90_ms=5.0, p99_ms=6.0, max_ms=9.0, mean_ms=4.5, mad_ms=0.1
)


def result(**changes: Any) -> CellResult:
    emulated = changes.pop("emulated", False)
    latency = {"device": TIMES, "end_to_end": TIMES, "timing_valid": not emulated}
    values: dict[str, Any] = {
        "name": "b",
        "hardware": "A311D",
        "provider": "Khadas",
        "type": "ASIC",
        "backend": "onnxruntime (Tengine's rule)" if emulated else "Tengine",
        "board": "b",
        "kind": "khadas-vim3",
        "executed_by": "emulated" if emulated else "board",
        "emulated": emulated,
        "granularity": "per-tensor",
        "symmetry": "asymmetric",
        "dtype": "uint8",
        "calibrator": "minmax",
        "mixed": False,
        "model": "m",
        "test_set": dict(
            hash="h", gallery=3000, probes=4000, mated=3000, unknown=1000, difficulty=1.5
        ),
        "latency": None if emulated else latency,
        "latency_host": latency if emulated else None,
        "rank1": dict(value=0.8094, low=0.80, high=0.82),
        "tar": dict(
            value=0.3077,
            low=0.28,
            high=0.33,
            far_target=1e-3,
            far_achieved=1e-3,
            k=4,
            threshold=0.5,
        ),
        "verdict": "EMULATED" if emulated else "VALID",
        "artifact_sha256": "a",
        "artifact_bytes": 1,
    }
    return CellResult.model_validate(values | changes)


def texts(one: CellResult) -> tuple[str, ...]:
    return row(one, parts([], [one]))


def test_a_board_has_its_time_and_an_emulated_one_has_none() -> None:
    assert texts(result())[4] == "4.3 ms"
    emulated = texts(result(emulated=True))
    assert emulated[4] == "–"
    assert "4.3" not in " ".join(emulated)
    assert emulated[3] == "onnxruntime (Tengine's rule)"


def test_a_suspect_time_is_marked_and_explained() -> None:
    reasons = ["throttled: thermal-cpufreq-0 at step 3", "too noisy: 31 % of the median"]
    suspect = result(verdict="SUSPECT", verdict_reason="; ".join(reasons), verdict_reasons=reasons)
    assert texts(suspect)[4] == "4.3 ms SUSPECT (throttled, too noisy)"
    assert any("thermal-cpufreq-0 at step 3" in note for note in footnotes([suspect], {}))


def test_encoders_of_one_board_measured_at_different_paces_are_told_apart() -> None:
    def at(yardstick_ms: float, **changes: Any) -> CellResult:
        latency = {"device": TIMES, "end_to_end": TIMES, "timing_valid": True}
        return result(latency=latency | {"yardstick_ms": yardstick_ms}, **changes)

    def said(*results: CellResult) -> bool:
        return any("compare their times with care" in note for note in footnotes(results, {}))

    assert said(at(1.0), at(1.3, dtype="float32"))
    assert not said(at(1.0), at(1.05, dtype="float32"))
    assert not said(at(1.0), at(1.3, board="another"))


def test_percent_with_intervals() -> None:
    assert texts(result())[7:] == ("80.94 [80.0, 82.0]", "30.77 [28.0, 33.0]")


def test_a_far_without_budget_is_not_printed_as_met() -> None:
    tar = result().tar.model_copy(update={"available": False, "k": 0})
    assert texts(result(tar=tar.model_dump()))[8] == "n/a (n<1/FAR)"


def test_rows_that_share_an_artifact_say_so() -> None:
    rows = [result(emulated=True, hardware=name) for name in ("A311D", "A311D*", "RV1126")]
    assert any("A311D and RV1126 share one artifact" in note for note in footnotes(rows, {}))
    other = result(emulated=True, hardware="X", artifact_sha256="b")
    assert not any("share" in note for note in footnotes([rows[0], other], {}))


def test_rows_of_two_processors_share_no_arithmetic_and_the_difference_is_a_note() -> None:
    found = {
        "machine": "aarch64",
        "version": "1.21",
        "version_here": "1.32.0",
        "images": 16,
        "bit_equal": 3,
        "mean_cosine": 0.99991,
        "worst_cosine": 0.9994,
        "worst_image": 7,
    }
    here = result(emulated=True, hardware="Here")
    arm = result(
        emulated=True,
        machine="aarch64",
        hardware="Arm",
        provenance={"parity": {"processor": found}},
    )
    notes = footnotes([here, arm], {})
    assert not any("share" in note for note in notes)
    (note,) = [note for note in notes if note.startswith("Processor")]
    assert "Arm 3 of 16 features equal to the bit, mean cosine 0.999910, worst 0.999400" in note
    assert "(probe image 7), onnxruntime 1.21 there and 1.32.0 here" in note
    same = processor_words({**found, "bit_equal": 16, "version": "1.32.0"})
    assert same == "all of 16 features equal to the bit"


def test_failed_images_partial_sets_and_missing_rows_are_said() -> None:
    notes = " ".join(footnotes([result(failed_images=3, partial=True)], {"rv1126": "no Python"}))
    assert "3 images failed and count as misses" in notes
    assert "partial" in notes
    assert "No result for rv1126: no Python" in notes


def test_markdown_has_the_published_columns() -> None:
    text = markdown([result(), result(hardware="A311D*", mixed=True)], {})
    assert text.splitlines()[0] == (
        "| Hardware | Provider | Type | Backend | Time | Granularity | Symmetry | Rank1 "
        "| TAR@FAR<=1e-3 |"
    )
    assert r"A311D\*" in text


@pytest.mark.parametrize(("p", "real"), [(0.001, True), (0.02, False)])
def test_differences_are_real_only_after_holm(p: float, real: bool) -> None:
    state = RunState()
    names = ["ref", "a", "b", "c"]
    state.apply(
        RunStarted(
            run="r",
            farm="0",
            matrix="m",
            inventory="i",
            matrix_sha256="0",
            cells=tuple(CellInfo(name=n, hardware=n, board=n, executed_by="board") for n in names),
            steps=(),
            boards=(),
        )
    )
    for name in names:
        difference = dict(
            rank1=dict(value=-0.05, low=-0.08, high=-0.02),
            tar=dict(value=0, low=-1, high=1),
            only_reference=100,
            only_cell=20,
            p=p if name == "a" else 0.6,
        )
        made = result(name=name, hardware=name, difference=None if name == "ref" else difference)
        state.apply(
            CellFinished(cell=name, executed_by="board", result=made.model_dump(mode="json"))
        )
    rows = results_of(state)
    assert rows[1].difference is not None
    assert rows[1].difference.real is real
    assert texts(rows[1])[7].endswith("↓") is real
    notes = " ".join(footnotes(rows, {}))
    assert ("No row's Rank-1 differs significantly" in notes) is not real


def test_columns_beside_the_published_ones_where_asked_for():
    gain = dict(
        rank1=dict(value=-0.0123, low=-0.02, high=-0.001),
        tar=dict(value=0.004, low=-0.03, high=0.04),
        only_reference=40,
        only_cell=3,
        p=0.01,
    )
    energy = dict(rail="VDD_IN", mean_w=9.1, inference_j=0.0452)
    latency = {"device": TIMES, "end_to_end": TIMES, "timing_valid": True}
    rows = [
        result(
            difference=gain,
            artifact_bytes=3_866_838,
            latency=latency | {"energy": energy, "peak_memory_bytes": 81_000_000},
        ),
        result(name="e", emulated=True),
    ]
    head, _, first, second, *_ = markdown(
        rows, {}, ["difference", "size", "memory", "energy", "model"]
    ).splitlines()
    assert head.endswith(
        "| Δ Rank1 (points) | Δ TAR (points) | Size | Peak memory | Energy | Model |"
    )
    assert "| -1.23 [-2.0, -0.1] | +0.40 [-3.0, +4.0] | 3.9 MB | 81.0 MB |" in first
    assert "45.2 mJ (VDD_IN, 9.1 W) | m |" in first
    assert second.endswith("| – | – | 0.0 MB | – | – | m |")
    plain = markdown(rows, {}).splitlines()
    assert plain[0].endswith("TAR@FAR<=1e-3 |"), "nothing is added unasked"


def test_several_models_are_told_apart():
    rows = [result(), result(name="c", model="other")]
    head, _, first, second, *_ = markdown(rows, {}).splitlines()
    assert head.endswith("| Model |")
    assert first.endswith("| m |")
    assert second.endswith("| other |")


def test_the_audit_and_a_warning_of_many_rows_stand_once() -> None:
    leak = dict(kind="probe-in-gallery", severity="leak", count=3, sentence="3 of 9", allowed=True)
    told = dict(kind="false-alarms", severity="note", count=4, sentence="4 allowed")
    test = dict(hash="h", gallery=3, probes=9, mated=6, unknown=3, audit=[leak, told])
    rows = [
        result(test_set=test, warnings=["gallery: equal rows"]),
        result(test_set=test, hardware="RV1126", warnings=["gallery: equal rows", "cold"]),
    ]
    notes = footnotes(rows, {})
    assert [n for n in notes if "3 of 9" in n] == [
        "LEAK in the test set (allow_leaks: true): 3 of 9."
    ]
    assert not any("4 allowed" in note for note in notes), "K stands in the first note"
    assert notes.count("A311D, RV1126: gallery: equal rows") == 1
    assert notes.count("RV1126: cold") == 1


def test_a_comparison_says_which_leaks_were_allowed() -> None:
    leak = dict(kind="two-identities", severity="leak", count=2, sentence="2 images", allowed=True)
    test = dict(hash="h", gallery=3, probes=9, mated=6, unknown=3, audit=[leak])
    pair = RowPair("b", result(), result(test_set=test), "none")
    found = RunComparison("one", "two", (pair,), (), ())
    assert notes(found) == ["LEAK in the test set (allow_leaks: true): 2 images."]
