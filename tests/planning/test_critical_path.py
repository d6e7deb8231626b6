"""What comes first of the steps that could start."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from orchestrator.planning.critical_path import leads, ranks
from orchestrator.planning.graph import Graph, Step
from orchestrator.planning.stage_facts import STAGE_FACTS


def seconds(step: Step) -> float:
    return step.units / 100


def graph(gallery: int, probes: int) -> Graph:
    """A row of one board: its file from a calibration, its images of two roles."""
    on = {"pool": ("b",), "board": "b"}
    steps = [
        Step("images/gallery", "images", units=gallery),
        Step("images/calibration", "images", units=20),
        Step("images/probe", "images", units=probes),
        Step("calibrate", "calibrate", {"i": "images/calibration"}, units=20),
        Step("quantize", "quantize", {"t": "calibrate"}),
        Step("deploy", "deploy", {"a": "quantize"}, **on),  # type: ignore[arg-type]
    ]
    steps.append(Step("measure", "measure", {"i": "images/probe"}, ("deploy",), units=50, **on))  # type: ignore[arg-type]
    for role, count in (("gallery", gallery), ("probe", probes)):
        fed = {"images": f"images/{role}"}
        steps.append(Step(f"extract/{role}", "extract", fed, ("deploy",), units=count, **on))  # type: ignore[arg-type]
    steps.append(Step("score", "score", {"g": "extract/gallery", "p": "extract/probe"}))
    return Graph({step.id: step for step in steps}, {})


def test_calibration_comes_first_then_the_probes_that_a_board_is_measured_with() -> None:
    for gallery, probes in ((300, 400), (400, 410)):
        row = graph(gallery, probes)
        lead, rank = leads(row, seconds), ranks(row, seconds)
        assert lead["images/gallery"] == lead["images/probe"] == (0.0, probes / 100)
        images = [step for step in row.steps if step.startswith("images/")]
        images.sort(key=lambda step: (lead[step], -rank[step]))
        assert images == ["images/calibration", "images/probe", "images/gallery"]


def test_a_step_that_lets_no_board_begin_comes_last() -> None:
    lead = leads(graph(300, 400), seconds)
    assert lead["score"] == (float("inf"), float("inf"))
    assert lead["measure"] == lead["extract/gallery"] == (0.0, 0.0)
    assert lead["quantize"] < lead["calibrate"] < lead["images/calibration"]


def test_what_the_first_row_needs_comes_before_what_waits_for_its_turn() -> None:
    """Two rows on boards that share the head's processors: float32, and one to be quantized."""
    steps = [
        Step("images/gallery", "images", units=300),
        Step("images/calibration", "images", units=20),
        Step("images/probe", "images", units=400),
        Step("convert/float32", "convert"),
        Step("calibrate", "calibrate", {"i": "images/calibration"}, units=20),
        Step("convert/int8", "convert", {"t": "calibrate"}),
    ]
    for board, file in (("host", "convert/float32"), ("emulated", "convert/int8")):
        on = {"pool": (board,), "board": board}
        deploy = f"deploy/{board}"
        steps.append(Step(deploy, "deploy", {"a": file}, **on))  # type: ignore[arg-type]
        for role, stage in (("probe", "measure"), ("gallery", "extract"), ("probe", "extract")):
            fed = {"images": f"images/{role}"}
            name = f"{stage}/{board}/{role}"
            steps.append(Step(name, stage, fed, (deploy,), units=100, **on))  # type: ignore[arg-type]
    rows = Graph({step.id: step for step in steps}, {})
    lead = leads(rows, seconds, {"host", "emulated"})
    assert lead["images/probe"] == (0.0, 4.0)
    assert lead["images/gallery"] == (1.0, 4.0)
    assert lead["deploy/host"] == lead["measure/host/probe"] == (0.0, 0.0)
    assert lead["extract/host/probe"] == (2.0, 0.0)
    assert lead["deploy/emulated"] == lead["measure/emulated/probe"] == (3.0, 0.0)
    order = sorted(lead, key=lambda step: lead[step])
    assert [step for step in order if not rows.steps[step].board] == [
        *("convert/float32", "images/probe", "images/gallery"),
        *("convert/int8", "calibrate", "images/calibration"),
    ]
    alone = leads(rows, seconds)
    assert alone["images/calibration"] < alone["images/probe"]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Steps of any stage on boards "a" and "b", each behind some of those before it."""
    steps: dict[str, Step] = {}
    for number in range(draw(st.integers(1, 12))):
        stage = draw(st.sampled_from(sorted(STAGE_FACTS)))
        board = draw(st.sampled_from("ab")) if STAGE_FACTS[stage].on_board else ""
        behind = draw(st.lists(st.sampled_from(list(steps)), unique=True)) if steps else []
        made = draw(st.integers(0, len(behind)))
        inputs = {str(each): each for each in behind[:made]}
        units, pool = draw(st.integers(1, 500)), (board,) if board else ()
        name = f"s{number}"
        steps[name] = Step(
            name, stage, inputs, tuple(behind[made:]), pool=pool, board=board, units=units
        )
    return Graph(steps, {})


@given(graphs())
def test_boards_that_share_nothing_have_no_turns_to_wait_for(rows: Graph) -> None:
    alone = leads(rows, seconds)
    assert alone == leads(rows, seconds, {"a board that has no step"})
    assert {turn for turn, _ in alone.values()} <= {0.0, float("inf")}


@given(graphs())
def test_no_step_has_its_turn_after_one_that_waits_for_it(rows: Graph) -> None:
    lead = leads(rows, seconds, {"a"})
    for name in rows.steps:
        assert all(lead[source][0] <= lead[name][0] for source in rows.sources(name))
