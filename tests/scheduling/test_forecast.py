"""How long what is left takes: one estimate from the plan to the last step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.events import (
    BoardChanged,
    Event,
    RunStarted,
    StepFinished,
    StepInfo,
    StepProgress,
    StepStarted,
    Waiting,
)
from orchestrator.planning.graph import HEAD_DOMAIN
from orchestrator.planning.paces import Observation
from orchestrator.planning.work import Work
from orchestrator.preflight.caches import OF_A_KIND, PacesFile
from orchestrator.scheduling.forecast import Forecaster, expected_end
from orchestrator.scheduling.observing import Observer

T0 = 1000.0
BOARDS = tuple("abcd")


def work(stage: str, board: str = "") -> str:
    place = "khadas-vim3 emulated" if board else "head"
    return Work(stage, place, "m", "", board).to_text()


def extraction(board: str, units: int = 1000, domain: str = HEAD_DOMAIN) -> StepInfo:
    return StepInfo(
        id=f"extract/{board}",
        stage="extract",
        board=board,
        domain=domain,
        units=units,
        seconds=10.0,
        work=work("extract", board),
    )


def scoring(*boards: str) -> list[StepInfo]:
    return [
        StepInfo(
            id=f"score/{board}",
            stage="score",
            domain=HEAD_DOMAIN,
            sources=(f"extract/{board}",),
            seconds=1.0,
            work=work("score"),
        )
        for board in boards
    ]


def known(extract_s: float = 20.0, units: int = 1000) -> list[Observation]:
    """Earlier runs: all of it, often enough to be sure."""
    kinds = [
        (Work("begin"), 1, 2.0),
        (Work("ray"), 1, 4.0),
        (Work("connect", "khadas-vim3 emulated"), 1, 1.0),
        (Work("score"), 1, 3.0),
        (Work("extract", "khadas-vim3 emulated", "m"), units, extract_s),
    ]
    return [Observation(*kind) for kind in kinds * 4]


def started(*steps: StepInfo) -> RunStarted:
    named = dict(matrix="m", inventory="i", matrix_sha256="0", cells=(), boards=())
    return RunStarted(at=T0, run="r", farm="0", steps=steps, **named)


def test_real_boards_work_beside_each_other_emulated_ones_share_the_processors() -> None:
    steps = [*map(extraction, BOARDS), *scoring(*BOARDS)]
    apart = [extraction(board, domain=board) for board in BOARDS] + scoring(*BOARDS)
    shared = expected_end(steps, known(), 2, {})
    own = expected_end(apart, known(), 2, {})
    assert shared is not None
    assert own is not None
    # 2 to begin, 4 for Ray, 1 to connect (2 emulated), 20 to extract (40), 6 for four scores on 2.
    assert own.seconds == pytest.approx(33, abs=2)
    assert shared.seconds == pytest.approx(54, abs=3)
    assert shared.low < shared.seconds < shared.high
    assert (own.seen, own.guessed) == (8, 0)


def test_nothing_to_do_takes_no_time() -> None:
    cached = extraction("a").model_copy(update={"cached": True})
    assert expected_end([cached], known(), 2, {}) is None


def events_of_two_beside_each_other() -> list[Event]:
    on = {"stage": "extract"}
    told: list[Event] = [started(extraction("a"), extraction("b"), extraction("c"))]
    told.append(Waiting(at=T0 + 1, boards=("",), why="ray"))
    ready = dict(state="ready", executed_by="emulated")
    for board in "abc":
        told.append(
            BoardChanged(at=T0 + 2, board=board, state="connecting", executed_by="emulated")
        )
    told.append(Waiting(at=T0 + 6, boards=("",), why=""))
    told += [BoardChanged(at=T0 + 9, board=board, **ready) for board in "abc"]
    told += [StepStarted(at=T0 + 9, step=f"extract/{b}", board=b, **on) for b in "abc"]
    told += [
        StepFinished(at=T0 + 39, step=f"extract/{b}", board=b, key="k", seconds=30.0, **on)
        for b in "abc"
    ]
    return told


def test_what_is_learned_is_what_a_step_would_take_alone() -> None:
    """Three beside each other on two processors took 30 s, so one takes 20."""
    observer = Observer(2)
    for event in events_of_two_beside_each_other():
        observer.take(event)
    seen = {each.work.stage: each for each in observer.observations}
    assert seen["extract"].seconds == pytest.approx(20.0)
    assert seen["extract"].units == 1000
    assert seen["begin"].seconds == pytest.approx(1.0)
    assert seen["ray"].seconds == pytest.approx(5.0)
    assert seen["connect"].seconds == pytest.approx(2.0)  # from when Ray was up, 3 on 2 processors


def test_the_estimate_comes_nearer_as_the_run_goes_on() -> None:
    """Extracting is twice as slow as ever before: half way that is known."""
    steps = [extraction("a"), *scoring("a"), extraction("b", domain="b"), *scoring("b")]
    forecaster = Forecaster(known(20.0), 2)
    ready = dict(state="ready", executed_by="emulated")
    on = {"stage": "extract"}
    told: list[Event] = [started(*steps), Waiting(at=T0 + 1, boards=("",), why="")]
    told += [BoardChanged(at=T0 + 2, board=board, **ready) for board in "ab"]
    told += [StepStarted(at=T0 + 2, step=f"extract/{b}", board=b, **on) for b in "ab"]
    for event in told:
        forecaster.take(event)
    found = forecaster.expected(T0 + 2)
    assert found is not None
    assert found.seconds == pytest.approx(23, abs=1)
    for board in "ab":
        half = dict(step=f"extract/{board}", board=board, total=1000, unit="images")
        forecaster.take(StepProgress(at=T0 + 3, done=0, **half))
        forecaster.take(StepProgress(at=T0 + 22, done=500, **half))
    found = forecaster.expected(T0 + 22)
    assert found is not None
    assert found.seconds == pytest.approx(15 + 3, abs=2)  # truly 20 + 3
    for event in [
        StepFinished(at=T0 + 42, step="extract/b", board="b", key="k", **on),
        StepFinished(at=T0 + 42, step="extract/a", board="a", key="k", **on),
        StepStarted(at=T0 + 42, step="score/a", stage="score"),
        StepStarted(at=T0 + 42, step="score/b", stage="score"),
    ]:
        forecaster.take(event)
    found = forecaster.expected(T0 + 43)
    assert found is not None
    assert 1.5 < found.seconds < 7
    for name in ("score/a", "score/b"):
        forecaster.take(StepFinished(at=T0 + 45, step=name, stage="score", key="k"))
    assert forecaster.expected(T0 + 45) is None


def test_a_step_that_takes_far_longer_than_expected_has_time_left() -> None:
    forecaster = Forecaster(known(), 2)
    forecaster.take(started(*scoring("a")))
    forecaster.take(Waiting(at=T0 + 1, boards=("",), why=""))
    forecaster.take(StepStarted(at=T0 + 1, step="score/a", stage="score"))
    found = forecaster.expected(T0 + 101)
    assert found is not None
    assert found.seconds == pytest.approx(25.0, rel=0.1)


def test_paces_are_kept_and_a_file_of_before_or_a_damaged_one_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "rates.json").write_text(json.dumps({"extract a": 0.5}))
    file = PacesFile(tmp_path)
    assert file.load() == []
    work = Work("extract", "k", "m", "v", "a")
    long = Observation(work, 4000, 46.0, 0.5)
    seen = [Observation(work, 200, 2.5 + n, 0.5) for n in range(20)]
    file.add([long, *seen[:1]])
    file.add(seen[1:])
    assert file.load() == [long, *seen[-OF_A_KIND:]]  # of each size its newest
    for text in ("", "{", "[]", '{"seen": 3}', '{"seen": [[1], ["x|y", 1, 2, 3], null]}', "null"):
        (tmp_path / "paces.json").write_text(text)
        assert PacesFile(tmp_path).load() == []


def test_two_hundred_boards_are_foreseen_in_no_time() -> None:
    """Once a step: its work in the simulator, not the clock, so that no machine is too slow."""
    names = [f"b{number}" for number in range(200)]
    steps = [*(extraction(name, domain=name) for name in names), *scoring(*names)]
    found = expected_end(steps, known(), 2, {})
    assert found is not None
    assert len(found.simulation.spans) == 200 * 3 + 1
    assert found.seconds == pytest.approx(2 + 4 + 1 + 20 + 300, rel=0.1)
