"""Reasons of waiting in the event log: each change once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from orchestrator.events import EventLog, EventReader, Waiting
from orchestrator.scheduling.core.messages import Reason, ReportWaiting, Why
from orchestrator.scheduling.reporter import Reporter
from orchestrator.scheduling.waits import Waits


def test_ray_and_whoever_uses_a_board_are_told_once(tmp_path: Path) -> None:
    ray = SimpleNamespace(up=False)
    reporter = Reporter(EventLog(tmp_path / "events.jsonl"))
    waits = Waits(cast(Any, ray), reporter)
    waits.report_ray()
    waits.report_ray()
    ray.up = True
    waits.report_ray()
    for who in ("run 7", "run 7", "run 8"):
        waits.report(ReportWaiting(("x",), Reason(Why.BOARD, f"x is in use by {who}")))
    waits.report(ReportWaiting(("x", "y"), Reason(Why.MEASUREMENT, "measure/h", "this-host")))
    waits.report(ReportWaiting(("y",), None))
    waits.report(ReportWaiting(("x",), Reason(Why.BOARD, "x is in use by run 8")))
    reporter.close()
    told = [e for e in EventReader(tmp_path / "events.jsonl").new() if isinstance(e, Waiting)]
    assert [(e.boards, e.why, e.subject, e.domain) for e in told] == [
        (("",), "ray", "", ""),
        (("",), "", "", ""),
        (("x",), "board", "x is in use by run 7", ""),
        (("x",), "board", "x is in use by run 8", ""),
        (("x", "y"), "measurement", "measure/h", "this-host"),
        (("y",), "", "", ""),
        (("x",), "board", "x is in use by run 8", ""),
    ]
