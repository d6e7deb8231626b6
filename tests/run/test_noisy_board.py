"""A row over a board whose login shell prints is, to the last bit, a quiet one's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fleet.noisy import GOODBYE, WELCOME, noisy_board
from tests.run.faulty import UINT8, Faulty, copied
from tests.run.project import entry


def row_of(project: Faulty, transport: str) -> dict[str, bytes]:
    """Features of a row over a board that is this host, reached in this way."""
    board = f"  - {{name: board, kind: host-cpu, transport: {transport}}}\n"
    project.write(entry("board", UINT8), board, 30, 10)
    done = project.farm("run", timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return project.features()


@pytest.mark.slow
@pytest.mark.needs("sshd", "bash")
def test_a_row_over_a_noisy_board_equals_a_quiet_one(tmp_path: Path) -> None:
    (tmp_path / "quiet").mkdir()
    quiet = Faulty(tmp_path / "quiet")
    want = row_of(quiet, "local")
    noisy = copied(quiet, tmp_path / "noisy")
    noise = {"before": WELCOME, "after": GOODBYE, "between": 0.05}
    with noisy_board(tmp_path, "bash", **noise) as (server, key, home):
        ssh = (
            f"{{ssh: {{host: {server.host}, port: {server.port}, user: {server.user}, "
            f"key: {key}, host_key: {server.host_key}}}}}"
        )
        more = f", python: {sys.executable}, workdir: {home}/farm, contention_domain: this-host"
        made = row_of(noisy, ssh + more)
    assert sorted(want) == ["board/gallery", "board/probe"]
    assert made == want
