"""What a run says last: what happened, once for each cause what is missing, what helps."""

from __future__ import annotations

from orchestrator.events import (
    CellFailed,
    CellInfo,
    Event,
    RunFinished,
    RunStarted,
    StepFailed,
    StepInfo,
)
from orchestrator.reporting.live.ending import last_words
from orchestrator.reporting.live.state import RunState
from orchestrator.reporting.tables.table import footnotes

LACKS = "needs the toolchain 'rknn1': rknn-toolkit not found; farm toolchain install rknn"


def started(*cells: CellInfo, steps: tuple[StepInfo, ...] = ()) -> RunStarted:
    return RunStarted(
        run="r",
        farm="1",
        matrix="m",
        inventory="i",
        matrix_sha256="0",
        cells=cells,
        steps=steps,
        boards=(),
    )


def row(name: str, board: str, reason: str = "") -> CellInfo:
    return CellInfo(name=name, hardware="H", board=board, executed_by="board", reason=reason)


def told(*events: Event) -> tuple[RunState, list[str]]:
    state = RunState()
    return state, [line for event in events for line in state.apply(event)]


def test_a_run_whose_rows_cannot_run_says_so_and_once_why() -> None:
    rows = [row(name, "rv", f"rv {LACKS}") for name in ("rv", "rv*")]
    state, lines = told(started(*rows), RunFinished(exit_code=1, outcome="incomplete"))
    assert lines == ["run r: 2 rows, 0 steps"]
    assert last_words(state, "r", 1) == [
        "2 of 2 rows cannot run",
        f"  all 2 rows: {LACKS}",
        "    `farm doctor` says what is missing here",
    ]


def test_what_cannot_run_is_said_at_the_start_of_a_run_that_has_work() -> None:
    step = StepInfo(id="extract/a", stage="extract", board="a", cells=("a",))
    rows = [row("a", "a"), row("rv", "rv", f"rv {LACKS}"), row("rv*", "rv", f"rv {LACKS}")]
    _, lines = told(started(*rows, steps=(step,)))
    assert lines == ["run r: 3 rows, 1 step", f"rv, rv*: cannot run: {LACKS}"]


def test_a_failed_row_has_its_cause_and_the_hint_of_its_step() -> None:
    step = StepInfo(id="extract/a", stage="extract", board="a", cells=("a", "b"))
    failed = StepFailed(
        step="extract/a",
        stage="extract",
        board="a",
        error="transient",
        message="a: no answer",
        hint="is it on?",
    )
    cells = [
        CellFailed(cell=name, executed_by="board", reason="a: no answer") for name in ("a", "b")
    ]
    state, _ = told(
        started(row("a", "a"), row("b", "a"), row("c", "c"), steps=(step,)), failed, *cells
    )
    assert last_words(state, "r", 1) == [
        "incomplete: 0 of 3 rows",
        "  a, b: no answer",
        "    is it on?",
        "`farm resume r` tries only what is missing",
    ]


def test_a_stopped_run_says_one_line() -> None:
    cells = [row(str(i), str(i)) for i in range(8)]
    state, _ = told(started(*cells), RunFinished(exit_code=130, outcome="interrupted"))
    words = last_words(state, "r", 130, stopped_by="SIGINT")
    assert words == ["stopped by Ctrl-C: 0 of 8 rows; resume with: farm resume r"]
    assert footnotes([], {str(i): "not finished" for i in range(3)}) == [
        "No result for 0, 1, 2: not finished"
    ]


def test_only_a_complete_run_is_called_cached() -> None:
    state, _ = told(started(row("a", "a")), RunFinished(exit_code=1, outcome="incomplete"))
    assert "cached" not in " ".join(last_words(state, "r", 1))
    state.results["a"] = None  # type: ignore[assignment]
    assert last_words(state, "r", 0, cached=True) == [
        "complete: 1 of 1 row; all of it was in the store (cached): nothing was run, "
        "no board was asked"
    ]
    assert last_words(state, "r", 0) == ["complete: 1 of 1 row"]


def test_a_bug_and_wrong_input_say_what_was_wrong() -> None:
    bug = RunFinished(exit_code=4, outcome="bug", message="KeyError: 'x'")
    state, _ = told(started(row("a", "a")), bug)
    assert last_words(state, "r", 4, folder="runs/r") == [
        "internal error: 0 of 1 row; please report it with runs/r/driver.log",
        "  KeyError: 'x'",
    ]
    lost = RunFinished(exit_code=1, outcome="incomplete", message="Ray's head ended")
    state, _ = told(started(row("a", "a")), lost)
    assert last_words(state, "r", 1) == [
        "incomplete: 0 of 1 row",
        "  Ray's head ended",
        "`farm resume r` tries only what is missing",
    ]
