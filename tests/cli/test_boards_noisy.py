"""`farm boards add` on boards whose login shell prints and whose environment is somebody's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.specs.inventory import load_inventory
from tests.cli.servers import VENV, Farm, adding
from tests.fleet.noisy import GOODBYE, WELCOME, noisy_board

# As people leave them in a profile; each broke the agent, or made a tool print another thing.
PYTHONS_OWN = {
    "PYTHONOPTIMIZE": "2",
    "PYTHONHOME": "/nowhere",
    "PYTHONINSPECT": "1",
    "PYTHONVERBOSE": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONIOENCODING": "utf-16",
    "PYTHONPROFILEIMPORTTIME": "1",
}


@pytest.mark.needs("sshd", "bash")
def test_a_noisy_board_is_added_and_found_ready(farm: Farm, tmp_path: Path) -> None:
    environment = {
        "LC_ALL": "zh_CN.UTF-8",
        "PATH": f"{VENV}:/usr/bin:/bin",
        "FARM_PROBE_ROOT": str(tmp_path / "root"),
        **PYTHONS_OWN,
    }
    noise = {"before": WELCOME, "after": GOODBYE, "environment": environment}
    with noisy_board(tmp_path, "bash", **noise) as (server, key, home):
        code, out, err = farm(*adding(server, key, "--kind", "host-cpu", "--name", "rock"))
        assert code == 0, out + err
        assert "rock: ready" in out
        assert "its login shell prints '=== Welcome to rock-5b ===" in out
        assert "wrong" not in Path("device_inventory.yaml").read_text()
        entry = load_inventory("device_inventory.yaml").board("rock")
        assert entry is not None
        assert entry.python == "python3"
        assert list((home / ".farm").glob("agent-*.pyz"))
        assert farm("who", "rock")[0] == 0
        code, out, err = farm("wipe", "rock")
        assert code == 0, out + err
        assert not list(home.glob(".farm/agent-*.pyz"))
