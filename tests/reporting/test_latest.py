"""`latest` is the newest run with rows, and who takes it says which; a resumed run is one run."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from orchestrator.api import load
from orchestrator.cli.main import main
from orchestrator.cli.results.watch import _folder
from orchestrator.errors import UserError
from orchestrator.events import (
    BoardChanged,
    CellFailed,
    Event,
    EventLog,
    EventReader,
    RunFinished,
    RunStarted,
    StepStarted,
)
from orchestrator.reporting.analysis.history import load_run
from orchestrator.reporting.analysis.timeline import timeline
from orchestrator.reporting.live.state import RunState
from orchestrator.store.going import going, is_going

from .made import T0, Row, Size, keep_features, make_run

REF = Row("ref", "This host", "host", reference=True, noise=0.8)
ROWS = [REF, Row("x", lot=1)]
LOST = [Row("ref", "This host", "host", reference=True, fails="lost"), Row("x", fails="lost")]
TOOK = "farm: taking run 20260102-bb: complete, 2 of 2 rows (newer, without a finished row: "


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Two runs with rows, then one without."""
    make_run(tmp_path, "20260101-aa", ROWS)
    folder = make_run(tmp_path, "20260102-bb", ROWS, at=T0 + 1e4)
    keep_features(tmp_path, folder, ROWS, Size())
    make_run(tmp_path, "20260103-cc", LOST, at=T0 + 2e4)
    return tmp_path


def farm(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main([*words, "--runs", str(folder / "runs")])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize(
    "words",
    [
        ("report",),
        ("score", "--cross"),
        ("score", "--far", "1e-1"),
        ("export", "--format", "csv"),
        ("compare", "20260101", "latest"),
        ("compare", "published", "latest"),
        ("gate", "--max-drop", "rank1=90"),
    ],
)
def test_latest_is_the_newest_run_with_rows_and_is_named(
    words: tuple[str, ...], kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = farm(kept, capsys, *words)
    assert code == 0, out + err
    assert f"{TOOK}20260103-cc)" in err


def test_without_any_row_a_report_is_drawn_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, "20260103-cc", LOST)
    code, _, err = farm(tmp_path, capsys, "report")
    assert code == 0
    assert "no run has a finished row; taking run 20260103-cc: incomplete, 0 of 2 rows" in err
    for words in (("score",), ("export",), ("compare", "latest", "latest")):
        code, _, err = farm(tmp_path, capsys, *words)
        assert code == 2
        assert "run 20260103-cc has no finished row (incomplete)" in err


def test_a_named_run_without_rows_fails_once(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = farm(kept, capsys, "gate", "20260103-cc", "--max-drop", "rank1=1")
    assert code == 3
    assert out.splitlines() == [
        "gate failed: run 20260103-cc has no finished row (incomplete): nothing to judge; "
        "`farm resume 20260103-cc` continues it"
    ]
    code, out, _ = farm(kept, capsys, "gate", "20260103-cc", "--max-drop", "rank1=1", "--json")
    assert (code, json.loads(out)["passed"], len(json.loads(out)["failures"])) == (3, False, 1)
    code, out, err = farm(kept, capsys, "score", "20260103-cc", "--cross")
    assert (code, out) == (2, "")
    assert err.count("no finished row") == 1
    code, _, err = farm(kept, capsys, "export", "20260103-cc", "--format", "csv")
    assert code == 2
    assert not (kept / "runs" / "20260103-cc" / "results.csv").exists()
    code, out, _ = farm(kept, capsys, "export", "20260103-cc", "--format", "junit")
    assert code == 0
    assert 'failures="2"' in Path(out.strip()).read_text()


def test_from_python_latest_means_the_same(kept: Path) -> None:
    assert load("latest", runs=kept / "runs").name == "20260102-bb"


def test_watch_takes_the_run_that_is_going_on_else_the_newest(kept: Path) -> None:
    runs = kept / "runs"
    assert _folder(runs, "latest").name == "20260103-cc"
    with going(runs / "20260101-aa"):
        assert is_going(runs / "20260101-aa")
        assert _folder(runs, "latest").name == "20260101-aa"
        with pytest.raises(UserError, match="is going on"), going(runs / "20260101-aa"):
            pass
    assert not is_going(runs / "20260101-aa")


def started(folder: Path) -> RunStarted:
    event = next(iter(EventReader(folder / "events.jsonl").new()))
    assert isinstance(event, RunStarted)
    return event


def appended(folder: Path, *events: Event) -> None:
    log = EventLog(folder / "events.jsonl")
    for event in events:
        log.append(event)
    log.close()


def test_a_resumed_run_is_one_run_and_what_stopped_it_is_over(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a", ROWS, finish=False)
    step = dict(step="extract/y", stage="extract", board="y")
    down = BoardChanged(at=T0 + 30, board="y", state="unreachable", executed_by="board")
    stopped = RunFinished(at=T0 + 40, exit_code=130, outcome="interrupted")
    appended(folder, StepStarted(at=T0 + 29, **step), down, stopped)
    log = folder / "events.jsonl"
    log.write_bytes(log.read_bytes() + b'{"event": "cell_fin')  # killed while it wrote
    again = started(folder).model_copy(update={"at": T0 + 1e6})
    appended(folder, again, StepStarted(at=T0 + 1e6 + 5, **step))
    run = load_run(folder)
    assert run.outcome == "unfinished"
    assert [row.name for row in run.results] == ["ref", "x"]
    assert run.state.boards["y"].state == "waiting"
    assert run.seconds == pytest.approx(45)
    when = timeline(run.events)
    assert when.ended - when.began == pytest.approx(45)
    spans = [(s.outcome, s.start - T0) for s in when.spans if s.step == "extract/y"]
    assert spans == [("unfinished", 29), ("unfinished", pytest.approx(45))]
    assert [(lane, end - T0) for lane, _, end, _ in when.down] == [("y", 40)]
    appended(folder, RunFinished(at=T0 + 1e6 + 6, exit_code=0, outcome="complete"))
    assert load_run(folder).outcome == "complete"


def test_rows_of_another_matrix_are_not_this_runs(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a", ROWS)
    events = list(EventReader(folder / "events.jsonl").new())
    state = RunState()
    for event in [*events, started(folder).model_copy(update={"matrix_sha256": "e" * 64})]:
        state.apply(event)
    assert state.results == {}
    state = RunState()
    fails = CellFailed(cell="x", executed_by="board", reason="gone")
    for event in [*events, started(folder), fails]:
        state.apply(event)
    assert (set(state.results), state.failures) == ({"ref"}, {"x": "gone"})


def test_times_for_programs_are_iso_8601(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("runs",), ("runs", "--row", "x")):
        _, out, _ = farm(kept, capsys, *words, "--json")
        for found in json.loads(out):
            assert datetime.fromisoformat(found["began"]).timestamp() == int(found["began_unix"])


def test_what_holds_of_all_rows_is_said_once(
    kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    make_run(kept, "20260104-dd", ROWS, size=Size(200, 100), limit=200)
    _, out, _ = farm(kept, capsys, "compare", "20260101", "20260104")
    assert "all rows: different test sets: not comparable" in out
    assert "ref, x: other test set" not in out


def test_a_run_in_a_notebook_is_its_table_and_its_name(kept: Path) -> None:
    run = load_run(kept / "runs" / "20260102-bb")
    assert repr(run) == "<Run 20260102-bb: complete, 2 of 2 rows>"
    shown = run._repr_html_()
    assert shown.count("<tr>") == 3
    assert "<th>Hardware</th>" in shown
    assert "TAR@FAR&lt;=" in shown
    assert len(shown) < 10_000
    lost = load_run(make_run(kept, "20260105-ee", [Row("x", fails="<b>lost</b>")]))
    assert "&lt;b&gt;lost" in lost._repr_html_()
