"""The live view at any size of terminal, and its time of arrival."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from orchestrator.events import (
    BoardChanged,
    CellInfo,
    Event,
    EventReader,
    Forecast,
    Note,
    PlanChanged,
    RunFinished,
    RunStarted,
    StepFailed,
    StepFinished,
    StepInfo,
    StepProgress,
    StepSkipped,
    StepStarted,
    Telemetry,
    Waiting,
)
from orchestrator.reporting.live.console import View
from orchestrator.reporting.live.state import RunState

from .made import T0, Size, fleet, make_run, troubles


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    root = tmp_path_factory.mktemp("console")
    folder: Path = make_run(root, "run", fleet(), size=Size(mated=40, unknown=20), extra=troubles())
    return list(EventReader(folder / "events.jsonl").new())


def drawn(events: list[Event], width: int, height: int) -> list[str]:
    """What the terminal shows after these events."""
    return list(drawn_meanwhile(events, width, height, (len(events),)))[-1]


def drawn_meanwhile(
    events: list[Event], width: int, height: int, moments: Iterable[int]
) -> Iterator[list[str]]:
    """What the terminal shows after so many events, and after so many."""
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None)
    view = View(console, clock=lambda: events[done - 1].at)
    done = 0
    for count in moments:
        for event in events[done:count]:
            view._state.apply(event)
        done = count
        out.seek(0)
        out.truncate()
        console.print(view._draw())
        yield out.getvalue().splitlines()


@pytest.mark.parametrize("size", [(60, 24), (120, 40)])
def test_it_fits_the_terminal_at_every_moment(events: list[Event], size: tuple[int, int]) -> None:
    for lines in drawn_meanwhile(events, *size, range(1, len(events))):
        assert len(lines) < size[1]
        assert all(cell_len(line) <= size[0] for line in lines)


@pytest.mark.parametrize("width", [110, 118, 124, 150, 160, 200])
def test_the_last_column_is_whole(width: int) -> None:
    board = "jetson-xavier-nx-in-the-lab"
    step = StepInfo(id="extract/a/probe", stage="extract", board=board, seconds=9.0)
    begun = StepStarted(at=T0 + 1, stage="extract", step=step.id, board=board)
    assert drawn([plan(step), begun], width, 40)[0].split()[-1] == "Verdict"


def test_the_table_fills_in_and_the_last_warning_stays(events: list[Event]) -> None:
    text = "\n".join(drawn(events, 80, 24))
    assert "Rank1" in text
    assert "rk unreachable: no answer" in text
    many = [Note(at=events[-1].at + n, level="info", message=f"word {n}") for n in range(9)]
    later = "\n".join(drawn([*events, *many], 200, 60))
    assert "row lost: no result: rk: the link <broke>" in later
    assert "word 8" in later


def test_where_a_terminal_is_wide_the_row_stands_beside_the_step(events: list[Event]) -> None:
    last = max(n for n, event in enumerate(events) if event.event == "step_started")
    step = events[last]
    assert isinstance(step, StepStarted)
    row = step.step.split("/")[-1]
    assert any(row in line and "extract" in line for line in drawn(events[: last + 1], 200, 60))


def test_sixty_columns_have_whole_steps_and_reasons_and_a_share_in_place_of_the_bar() -> None:
    step = dict(step="extract/per-tensor", board="vim3-living-room")
    told: list[Event] = [
        plan(
            StepInfo(id=step["step"], stage="extract", board=step["board"], seconds=9.0),
            StepInfo(id="measure/x", stage="measure", board="x", seconds=1.0),
        ),
        StepStarted(at=T0 + 1, stage="extract", **step),
        StepProgress(at=T0 + 3, done=450, total=1000, unit="images", **step),
        BoardChanged(at=T0, board="x", state="ready", executed_by="board"),
        Waiting(at=T0 + 3, boards=("x",), why="input", subject="calibrate/minmax"),
        Forecast(at=T0 + 3, low=70.0, seconds=100.0, high=175.0),
    ]
    lines = drawn(told, 60, 24)
    text = "\n".join(lines)
    assert re.search(r"^vim3-living-room  extract per-tensor +45%$", text, re.MULTILINE), text
    assert re.search(r"^x +waiting for calibrate/minmax +0 s$", text, re.MULTILINE), text
    assert re.search(r"^Plan \d+%, 0 of 0 rows, 0:03, 1–3 min left$", text, re.MULTILINE), text


def plan(*steps: StepInfo) -> RunStarted:
    named = dict(matrix="m", inventory="i", matrix_sha256="0", cells=(), boards=())
    return RunStarted(at=T0, run="r", farm="0", steps=steps, **named)


def test_time_left_is_the_forecast_and_the_bar_counts_seconds() -> None:
    state = RunState()
    state.apply(
        plan(
            StepInfo(id="a", stage="extract", board="x", domain="x", seconds=30.0),
            StepInfo(id="b", stage="compare", domain="x", seconds=10.0),
            StepInfo(id="c", stage="images", domain="x", seconds=500.0, cached=True),
        )
    )
    assert state.left_s(T0) is None
    state.apply(Forecast(at=T0, low=30.0, seconds=40.0, high=60.0))
    assert state.left_s(T0 + 10) == (20.0, 50.0)
    assert state.left_s(T0 + 45) == (0.0, 15.0)
    assert state.share(T0) == 0.0
    state.apply(StepStarted(at=T0, step="a", stage="extract", board="x"))
    state.apply(StepProgress(at=T0 + 20, step="a", board="x", done=50, total=100, unit="images"))
    assert state.share(T0 + 20) == 15 / 40
    state.apply(StepFinished(at=T0 + 40, step="a", stage="extract", board="x", key="k"))
    assert state.share(T0 + 40) == 30 / 40  # and one of two steps
    state.apply(StepFinished(at=T0 + 50, step="b", stage="compare", key="k"))
    assert state.share(T0 + 50) == 1.0
    state.apply(RunFinished(at=T0 + 50, exit_code=0, outcome="complete"))
    assert state.left_s(T0 + 50) is None


def test_the_end_is_a_range_in_words() -> None:
    begun = plan(StepInfo(id="a", stage="extract", board="x", seconds=100.0))
    soon = Forecast(at=T0, low=70.0, seconds=100.0, high=175.0)
    assert "0:00, 1–3 min left" in "\n".join(drawn([begun, soon], 80, 24))
    wide = "\n".join(drawn([begun, soon], 160, 24))
    assert re.search(r"0:00 spent, 1–3 min left \(until \d\d:\d\d", wide)


def words_of(events: list[Event]) -> str:
    """What an ordinary terminal shows, without its gaps."""
    return " ".join("\n".join(drawn(events, 80, 24)).split())


WAITS: dict[str, tuple[Waiting, str]] = {
    "measured": (
        Waiting(at=T0, boards=("x",), why="measurement", subject="measure/h", domain="this-host"),
        "x waiting this host is being measured 2 s",
    ),
    "input": (
        Waiting(at=T0, boards=("x",), why="input", subject="calibrate/minmax"),
        "x waiting for calibrate/minmax 2 s",
    ),
}


@pytest.mark.parametrize(("event", "said"), WAITS.values(), ids=WAITS)
def test_an_idle_board_says_what_it_waits_for_until_it_works(event: Waiting, said: str) -> None:
    begun = plan(StepInfo(id="a", stage="extract", board="x", seconds=100.0))
    ready = BoardChanged(at=T0, board="x", state="ready", executed_by="board")
    later = Note(at=T0 + 2, level="info", message="later")
    assert said in words_of([begun, ready, event, later])
    works = StepStarted(at=T0 + 2, step="a", stage="extract", board="x")
    done = StepFinished(at=T0 + 2, step="a", stage="extract", board="x", key="k")
    assert "waiting" not in words_of([begun, ready, event, works, done])
    over = Waiting(at=T0 + 2, boards=("x",), why="")
    assert "x ready 1 step to go" in words_of([begun, ready, event, over])


def test_a_board_that_somebody_else_uses_says_who_as_long_as_it_is_tried() -> None:
    begun = plan(StepInfo(id="a", stage="extract", board="x", seconds=100.0))
    tries = BoardChanged(at=T0, board="x", state="connecting", executed_by="board")
    refused = tries.model_copy(update={"reason": "x: x is in use by run 7 since 10:02"})
    who = Waiting(at=T0, boards=("x",), why="board", subject="x is in use by run 7 since 10:02")
    again = tries.model_copy(update={"at": T0 + 9})
    said = "x waiting in use by run 7 since 10:02 9 s"
    assert said in words_of([begun, tries, refused, who, again])
    ready = BoardChanged(at=T0 + 9, board="x", state="ready", executed_by="board")
    assert "x ready 1 step to go" in words_of([begun, tries, refused, who, again, ready])


def test_a_board_that_connects_says_how_long_and_that_ray_starts() -> None:
    begun = plan(StepInfo(id="a", stage="extract", board="x", seconds=100.0))
    begins = BoardChanged(at=T0, board="x", state="connecting", executed_by="board")
    later = Note(at=T0 + 3, level="info", message="later")
    ray, up = (Waiting(at=T0 + 1, boards=("",), why=why) for why in ("ray", ""))
    assert "x connecting 3 s" in words_of([begun, begins, later])
    assert "x connecting starting Ray 2 s" in words_of([begun, begins, ray, later])
    assert "x connecting 3 s" in words_of([begun, begins, ray, up, later])


def test_a_board_that_stays_busy_is_said_once() -> None:
    state = RunState()
    busy = BoardChanged(board="x", state="connecting", executed_by="board", reason="in use by me")
    assert state.apply(busy) == ["x: in use by me; trying again"]
    state.apply(busy.model_copy(update={"reason": ""}))
    assert state.apply(busy) == []
    assert state.apply(busy.model_copy(update={"reason": "no answer"})) != []


def test_cooling_clock_and_verdict_of_a_measurement_stand_on_the_boards_line() -> None:
    step = dict(step="measure/vim3", board="vim3")
    work = dict(done=0, total=0, unit="inferences", **step)
    told: list[Event] = [
        plan(StepInfo(id="measure/vim3", stage="measure", board="vim3")),
        StepStarted(at=T0 + 1, stage="measure", **step),
        StepProgress(at=T0 + 2, note="cooling 61 °C → 55 °C", **work),
        StepProgress(at=T0 + 3, note="cooling 58 °C → 55 °C", **work),
        Telemetry(at=T0 + 3, board="vim3", temperature_c=58.0, clock_mhz=800.0),
    ]
    state = RunState()
    lines = [line for event in told for line in state.apply(event)]
    assert lines.count("measure/vim3: cooling 61 °C → 55 °C") == 1
    assert not any("58 °C → 55" in line for line in lines)
    text = "\n".join(drawn(told, 200, 40))
    assert "cooling 58 °C → 55 °C" in text
    assert re.search(r"58\s+800", text)
    done = StepFinished(at=T0 + 9, stage="measure", key="k", verdict="SUSPECT", **step)
    assert re.search(r"vim3 .*SUSPECT", "\n".join(drawn([*told, done], 200, 40)))


def fleet_of(count: int) -> list[Event]:
    """A run over many boards in its middle: a few work, one is lost, most wait."""
    names = [f"board{i:03}" for i in range(count)]
    steps = tuple(
        StepInfo(id=f"{stage}/{name}", stage=stage, board=name, cells=(name,), seconds=1.0)
        for name in names
        for stage in ("deploy", "measure")
    )
    cells = tuple(CellInfo(name=n, hardware="Board", board=n, executed_by="board") for n in names)
    started = dict(matrix="m", inventory="i", matrix_sha256="0", cells=cells, boards=tuple(names))
    events: list[Event] = [RunStarted(at=T0, run="r", farm="0", steps=steps, **started)]
    for i, name in enumerate(names[::7]):
        events.append(BoardChanged(at=T0 + i, board=name, state="ready", executed_by="board"))
        events.append(StepStarted(at=T0 + i, step=f"deploy/{name}", stage="deploy", board=name))
    lost = BoardChanged(board=names[-1], state="unreachable", executed_by="board", reason="cut")
    return [*events, lost.model_copy(update={"at": T0 + count})]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_of_two_hundred_boards_those_at_work_and_in_trouble_are_shown(
    size: tuple[int, int],
) -> None:
    lines = drawn(fleet_of(200), *size)
    assert len(lines) < size[1]
    shown = [line for line in lines if line.startswith("board")]
    working = min(29, len(shown))
    assert sum("deploy" in line for line in shown) == working
    assert len(shown) == working or any("board199" in line for line in shown)
    assert f"and {200 - len(shown)} more boards: " in "\n".join(lines)
    assert "0 of 400 steps" in "\n".join(lines)


STEPS = st.lists(
    st.builds(
        StepInfo,
        id=st.sampled_from("abcdef"),
        stage=st.just("extract"),
        board=st.sampled_from(["x", "y", ""]),
        cached=st.booleans(),
    ),
    unique_by=lambda info: info.id,
).map(tuple)
HAPPENED = st.lists(
    st.tuples(st.sampled_from(["start", "end", "fail", "again", "skip"]), st.sampled_from("abcdef"))
)


@given(STEPS, HAPPENED, STEPS, HAPPENED)
def test_a_plan_told_in_part_is_the_plan_told_whole(
    before: tuple[StepInfo, ...],
    first: list[tuple[str, str]],
    after: tuple[StepInfo, ...],
    then: list[tuple[str, str]],
) -> None:
    whole, part = RunState(), RunState()
    known = {info.id: info for info in before}
    gone = tuple(known.keys() - {info.id for info in after})
    changed = tuple(info for info in after if known.get(info.id) != info)
    boards = {info.id: info.board for info in (*before, *after)}

    def event(what: str, step: str) -> Event:
        kind = {"step": step, "stage": "extract", "board": boards.get(step, "")}
        if what == "start":
            return StepStarted(**kind)
        if what == "end":
            return StepFinished(**kind, key="k")
        if what == "skip":
            return StepSkipped(**kind, because="z")
        return StepFailed(**kind, error="transient", message="m", retry=what == "again")

    for state, change in (
        (whole, PlanChanged(steps=after)),
        (part, PlanChanged(steps=changed, gone=gone, partial=True)),
    ):
        state.apply(plan(*before))
        for each in first:
            state.apply(event(*each))
        state.apply(change)
        for each in then:
            state.apply(event(*each))
    assert part.steps == whole.steps
    ended = [s for s in whole.steps if whole.step_state.get(s) in ("done", "failed", "skipped")]
    assert part.done == whole.done == len(ended)
    left = Counter(info.board for step, info in whole.steps.items() if step not in ended)
    for state in (part, whole):
        assert {n: b.steps_left for n, b in state.boards.items()} == {
            n: left[n] for n in state.boards
        }
