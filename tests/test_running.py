"""A run's folder and what it was asked for, read again after a crash."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.request import Request
from orchestrator.running import request_of
from orchestrator.store.run_folder import REQUEST, make_folder, new_name


def _new_folder(request: Request) -> Path:
    folder = Path(request.runs) / new_name()
    make_folder(folder, request.to_json())
    return folder


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    runs = str(tmp_path / "runs")
    return Request("matrix.yaml", "boards.yaml", str(tmp_path / ".farm"), runs, limit=7)


def test_the_latest_run_says_what_it_was_asked_for(request_: Request) -> None:
    folder = _new_folder(request_)
    assert request_of(request_.runs, "latest") == request_of(request_.runs, folder.name) == request_


def test_a_crash_before_the_request_is_on_the_disk_leaves_the_run_before_as_the_latest(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _new_folder(request_)

    def crash(file: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        _new_folder(request_)
    assert (Path(request_.runs) / "latest").resolve() == before.resolve()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"matrix": 3}'])
def test_a_damaged_request_is_named_with_the_way_on(request_: Request, text: str) -> None:
    folder = _new_folder(request_)
    (folder / REQUEST).write_text(text)
    with pytest.raises(UserError, match="is damaged") as seen:
        request_of(request_.runs, "latest")
    assert "`farm run`" in seen.value.hint


def test_no_room_for_a_run_is_said(request_: Request) -> None:
    Path(request_.runs).write_text("a file in its place")
    with pytest.raises(UserError, match="cannot make a folder"):
        _new_folder(request_)
