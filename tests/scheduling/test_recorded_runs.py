"""Recorded runs that the benchmark of estimates replays."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.estimate import AFTER_A_THIRD, AT_START, DATA, load, replay, write
from orchestrator.events import Event, Note, RunFinished, StepProgress
from orchestrator.planning.paces import Observation

from .test_forecast import T0, events_of_two_beside_each_other


def events(outcome: str) -> list[Event]:
    *most, last = events_of_two_beside_each_other()
    return [
        *most,
        *(
            StepProgress(
                at=T0 + 9 + n / 10, step="extract/a", board="a", done=n, total=300, unit="images"
            )
            for n in range(299)
        ),
        Note(at=T0 + 38, level="info", message="what is said is not kept"),
        last,
        RunFinished(at=T0 + 41, exit_code=0, outcome=outcome),  # type: ignore[arg-type]
    ]


def test_a_run_is_kept_short_and_estimated_from_those_before_it(tmp_path: Path) -> None:
    earlier: list[Observation] = []
    for number in range(2):
        write(tmp_path / f"{number}.jsonl.gz", "small", 0.5, events("complete"))
    first, again = (replay(load(tmp_path / f"{n}.jsonl.gz"), earlier) for n in range(2))
    assert first is not None
    assert again is not None
    assert (first.name, first.real) == ("small", pytest.approx(41.0))
    assert again.off_at_start < 1.1 < first.off_at_start  # it has learned
    assert again.off_later < 1.1
    kept = load(tmp_path / "0.jsonl.gz")
    assert kept.load == 0.5
    assert not any(isinstance(event, Note) for event in kept.events)
    assert sum(isinstance(event, StepProgress) for event in kept.events) < 35


def test_a_stopped_run_teaches_but_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "stopped.jsonl.gz"
    write(path, "stopped", 0.5, events("interrupted"))
    earlier: list[Observation] = []
    assert replay(load(path), earlier) is None
    assert {each.work.stage for each in earlier} >= {"ray", "extract"}


def test_real_runs_replayed_end_near_their_estimates() -> None:
    """Their times are recorded, so this machine's pace says nothing here."""
    earlier: list[Observation] = []
    found = [replay(load(path), earlier) for path in sorted(DATA.glob("*.jsonl.gz"))]
    results = [each for each in found if each is not None]
    assert len(results) == 10
    assert sum(each.off_at_start <= AT_START for each in results) == 10
    assert sum(each.off_later <= AFTER_A_THIRD for each in results) >= 9
    assert max(each.off_later for each in results) < AT_START
