"""The benchmarks' projects: farm must go on accepting what they ask for."""

from __future__ import annotations

import subprocess

import pytest

from benchmarks import dead_board
from benchmarks._timed_runs import boards


@pytest.mark.slow
def test_the_project_of_dead_boards_can_be_planned() -> None:
    with boards() as (folder, made):
        project = dead_board.made_of(folder / "without", made, dead_board.NAMES[:2])
        planned = subprocess.run(
            project.command("plan", "matrix.yaml"),
            cwd=project.folder,
            env=project.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert all(name in planned.stdout for name in dead_board.NAMES[:2])
