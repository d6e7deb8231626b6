"""A run's events in order."""

from __future__ import annotations

from pathlib import Path

from orchestrator.events import EventLog, EventReader, Note, RunFinished
from orchestrator.scheduling.reporter import Reporter


def test_nothing_follows_the_last_word(tmp_path: Path) -> None:
    reporter = Reporter(EventLog(tmp_path / "events.jsonl"))
    reporter.emit(Note(level="info", message="before"))
    reporter.emit(RunFinished(exit_code=130, outcome="interrupted"))
    reporter.emit(Note(level="info", message="of a step that is being stopped"))
    reporter.close()
    told = list(EventReader(tmp_path / "events.jsonl").new())
    assert [event.event for event in told] == ["note", "run_finished"]
