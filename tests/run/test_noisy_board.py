"""A row over a board whose login shell prints is, to the last bit, a quiet one's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fleet.noisy import GOODBYE, WELCOME, noisy_board
from tests.run.faulty import UINT8, Faulty
from tests.run.project import entry


@pytest.mark.slow
@pytest.mark.needs("sshd", "bash")
def test_a_row_over_a_noisy_board_equals_a_quiet_one(tmp_path: Path) -> None:
    made = {}
    noise = {"before": WELCOME, "after": GOODBYE, "between": 0.05}
    with noisy_board(tmp_path, "bash", **noise) as (server, key, home):
        ssh = (
            f"{{ssh: {{host: {server.host}, port: {server.port}, user: {server.user}, "
            f"key: {key}, host_key: {server.host_key}}}}}"
        )
        more = f", python: {sys.executable}, workdir: {home}/farm, contention_domain: here"
        for name, transport in (("quiet", "local"), ("noisy", ssh + more)):
            folder = tmp_path / name
            folder.mkdir()
            project = Faulty(folder)
            board = f"  - {{name: board, kind: host-cpu, transport: {transport}}}\n"
            project.write(entry("board", UINT8), board, 60, 20)
            done = project.farm("run")
            assert done.returncode == 0, done.stdout + done.stderr
            made[name] = project.features()
            assert not [e for e in project.events() if e.event == "step_failed"]
    assert len(made["quiet"]) == 2
    assert made["noisy"] == made["quiet"]
