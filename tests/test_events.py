"""The event log: what was appended is read back, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.events import (
    EventLog,
    EventReader,
    Note,
    RunFinished,
    StepFailed,
    StepFinished,
    StepStarted,
)

SAMPLES = (
    StepStarted(step="extract/b/probe", stage="extract", board="b", executed_by="emulated"),
    Note(level="warning", message="line\nbreak and ünïcode"),
    RunFinished(exit_code=0, outcome="complete"),
)


def test_read_back_as_written_while_growing(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    reader = EventReader(path)
    assert list(reader.new()) == []
    log = EventLog(path)
    log.append(SAMPLES[0])
    assert list(reader.new()) == [SAMPLES[0]]
    log.append(SAMPLES[1])
    log.append(SAMPLES[2])
    log.close()
    assert list(reader.new()) == list(SAMPLES[1:])
    assert list(EventReader(path).new()) == list(SAMPLES)


def test_a_torn_line_has_not_happened_and_a_foreign_one_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.append(SAMPLES[0])
    with open(path, "ab") as file:
        file.write(b'{"event": "of a newer farm"}\nnot json\n' + b'{"event": "note", "lev')
    assert list(EventReader(path).new()) == [SAMPLES[0]]


def test_an_event_of_a_newer_farm_with_more_fields_is_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line = SAMPLES[1].model_dump_json()[:-1] + ', "colour": "red"}\n'
    path.write_text(line)
    assert list(EventReader(path).new()) == [SAMPLES[1]]


def test_what_ends_a_step_is_on_the_disk_when_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    log = EventLog(tmp_path / "events.jsonl")
    log.append(SAMPLES[0])
    assert synced == []
    for event in (
        StepFinished(step="s", stage="score", key="k"),
        StepFailed(step="s", stage="score", error="user", message="m"),
        SAMPLES[2],
    ):
        log.append(event)
        assert synced[-1] == (tmp_path / "events.jsonl").stat().st_size
    assert len(synced) == 3
