"""A run's page is the console's fold: taken on event by event, drawn once, sent as it changes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from orchestrator.events import (
    BoardChanged,
    CellFinished,
    EventLog,
    EventReader,
    RunFinished,
    StepProgress,
    StepStarted,
    Telemetry,
    Waiting,
)
from orchestrator.reporting.analysis.history import load_run
from orchestrator.reporting.tables.listing import Listed
from orchestrator.serving.catalogue import Catalogue
from orchestrator.serving.following import Follower
from orchestrator.serving.pages.run import run_parts
from orchestrator.store.going import going
from tests.reporting.made import Row, Size, fleet, make_run, troubles

from .site import serving

SMALL = Size(40, 20)
TWO = [Row("ref", "This host", "host", reference=True), Row("vim3", lot=1)]


def test_a_log_read_bit_by_bit_gives_what_reading_it_whole_gives(tmp_path: Path) -> None:
    whole = make_run(tmp_path, "a", fleet(), size=SMALL, extra=troubles())
    copy = tmp_path / "runs" / "b"
    copy.mkdir()
    follower = Follower(copy)
    follower.read()
    assert follower.events == 0
    text = (whole / "events.jsonl").read_bytes()
    with open(copy / "events.jsonl", "ab", buffering=0) as log:
        for begin in range(0, len(text), 997):  # ends of writes are not ends of lines
            log.write(text[begin : begin + 997])
            follower.read()
    expected = load_run(whole)
    assert follower.events == len(expected.events)
    assert follower.results() == list(expected.results)
    assert follower.listed().summary == Listed.of(expected).summary | {"folder": str(copy)}
    assert follower.listed().points == Listed.of(expected).points
    assert follower.listed().rows == Listed.of(expected).rows


def test_only_what_an_event_changes_is_drawn_again(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a", TWO, size=SMALL, finish=False)
    follower = Follower(folder)
    follower.read()
    log = EventLog(folder / "events.jsonl")

    def drawn(*events: object) -> set[str]:
        before = follower.events
        for event in events:
            log.append(event)  # type: ignore[arg-type]
        follower.read()
        return set(run_parts(follower, before)) - {"summary"}

    every = set(run_parts(follower))
    assert every == {"summary", "host", "table", "notes", "log", "tile-0", "tile-1"}
    assert drawn(Telemetry(board="vim3", temperature_c=61.0)) == {"tile-1"}
    assert drawn(StepStarted(step="score/vim3", stage="score")) == {"host"}
    waits = Waiting(boards=("vim3",), why="board", subject="vim3 is held by ann")
    assert drawn(waits) == {"tile-1"}
    assert "held by ann" in run_parts(follower)["tile-1"]
    log.close()


def test_a_viewer_sees_each_event_until_the_end(tmp_path: Path) -> None:
    made = make_run(tmp_path, "made", TWO, size=SMALL)
    finished = [e for e in EventReader(made / "events.jsonl").new() if isinstance(e, CellFinished)]
    folder = make_run(tmp_path, "a", TWO, at=time.time(), size=SMALL, finish=False)
    log = EventLog(folder / "events.jsonl")
    with going(folder), serving(tmp_path) as site:
        page = site.get("/now")
        assert "Run a " in page.text
        assert "going on" in page.text
        since = page.text.partition("since=")[2].partition("&")[0]
        with site.stream(f"/live?run=a&since={since}") as events:
            log.append(StepStarted(step="measure/vim3", stage="measure", board="vim3"))
            log.append(
                StepProgress(
                    step="measure/vim3", board="vim3", done=30, total=200, unit="inferences"
                )
            )
            parts = json.loads(next(events)[1])
            while "30 of 200 inferences" not in parts.get("tile-1", ""):
                parts = json.loads(next(events)[1])
            assert "tile-0" not in parts, "nothing happened to the other board"
            better = finished[1].model_copy(update={"at": time.time()})
            better.result["rank1"] = {"value": 0.125, "low": 0.1, "high": 0.2}
            log.append(better)
            while "12.50" not in parts.get("table", ""):
                parts = json.loads(next(events)[1])
            log.append(RunFinished(exit_code=0, outcome="complete"))
            *_, last = events
            assert last[0] == "over"
    log.close()


def test_a_run_without_any_result_has_a_page(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a", [], at=time.time(), finish=False)
    with going(folder), serving(tmp_path) as site:
        assert site.get("/now").status == 200
        assert site.get("/runs/a/report").status == 200


def test_a_page_goes_over_to_the_next_run(tmp_path: Path) -> None:
    make_run(tmp_path, "a", TWO, size=SMALL)
    with serving(tmp_path) as site:
        with site.stream("/live?run=a&now=1") as events:
            assert next(events)[0] == "message"
            assert next(events)[0] == "over"
            folder = make_run(tmp_path, "b", TWO, at=time.time(), size=SMALL, finish=False)
            with going(folder):
                assert next(events)[0] == "reload"
                assert "Run b " in site.get("/now").text


def test_a_run_without_an_end_that_nobody_holds_is_lost(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a", TWO, size=SMALL, finish=False)
    catalogue = Catalogue(tmp_path / "runs")
    assert catalogue.entry("a").outcome == "lost"  # type: ignore[union-attr]
    with going(folder):
        assert Catalogue(tmp_path / "runs").entry("a").outcome == "going on"  # type: ignore[union-attr]
    with serving(tmp_path) as site:
        assert "farm resume a" in site.get("/runs/a").text


def test_of_runs_that_did_not_change_nothing_is_read(tmp_path: Path) -> None:
    folders = [make_run(tmp_path, f"r{n}", TWO, at=1.7e9 + n, size=SMALL) for n in range(3)]
    catalogue = Catalogue(tmp_path / "runs")
    assert [entry.name for entry in catalogue.entries()] == ["r2", "r1", "r0"]
    log = EventLog(folders[0] / "events.jsonl")
    log.append(BoardChanged(board="vim3", state="released", executed_by="board"))
    log.close()
    for folder in folders[1:]:  # the same size and time of change, and nothing that can be read
        path = folder / "events.jsonl"
        found = path.stat()
        path.write_bytes(b" " * found.st_size)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    catalogue._looked = 0.0
    assert [entry.name for entry in catalogue.entries()] == ["r2", "r1", "r0"]
    assert catalogue.followers.of(folders[0]).events == len(load_run(folders[0]).events)
