"""`--json` of run, resume and watch: the run's own events on standard output, nothing else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.patience import ENDS_S

from .project import FLOAT, HOST, Project


def farm(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        project.command(*words),
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=ENDS_S,
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_events_are_those_of_the_log_and_messages_go_elsewhere(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(FLOAT, HOST)
    done = farm(project, "run", "--json")
    assert done.returncode == 0, done.stderr
    folder = (tmp_path / "runs" / "latest").resolve()
    log = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [json.loads(line) for line in done.stdout.splitlines()] == log
    assert (log[0]["event"], log[-1]["event"]) == ("run_started", "run_finished")
    row = next(event for event in log if event["event"] == "cell_finished")
    assert 0 < row["result"]["rank1"]["value"] <= 1
    assert "complete: 1 of 1 row" in done.stderr

    seen = farm(project, "watch", "--json")
    assert (seen.returncode, seen.stdout) == (0, done.stdout)

    again = farm(project, "resume", "--json")  # it is complete: there is nothing to log
    assert (again.returncode, again.stdout) == (0, "")
    assert "cached" in again.stderr

    wrong = farm(project, "run", "--json", "--only", "nobody")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "nobody" in wrong.stderr
