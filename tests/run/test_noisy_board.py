"""A row over a board whose login shell prints is, to the last bit, a quiet one's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fleet.noisy import GOODBYE, WELCOME, noisy_board
from tests.run.faulty import IDENTITIES, PLAIN, UNKNOWN, Faulty
from tests.run.project import entry


@pytest.mark.slow
@pytest.mark.needs("sshd", "bash")
def test_a_row_over_a_noisy_board_equals_a_quiet_one(
    plain: dict[str, bytes], project: Faulty, tmp_path: Path
) -> None:
    noise = {"before": WELCOME, "after": GOODBYE, "between": 0.05}
    with noisy_board(tmp_path, "bash", **noise) as (server, key, home):
        board = (
            "  - {name: rock, kind: host-cpu, hardware: a board, contention_domain: this-host, "
            f"python: {sys.executable}, workdir: {home}/farm, transport: {{ssh: "
            f"{{host: {server.host}, port: {server.port}, user: {server.user}, "
            f"key: {key}, host_key: {server.host_key}}}}}}}\n"
        )
        project.write(entry("rock", PLAIN), board, IDENTITIES, UNKNOWN)
        done = project.farm("run")
    assert done.returncode == 0, done.stdout + done.stderr
    made = {name.removeprefix("rock/"): data for name, data in project.features().items()}
    assert made == plain
