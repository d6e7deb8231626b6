"""The table of runtimes: each file of agents/runtimes/ once, read by all who need it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.fleet.boards.agent_bundle import agent_bundle
from orchestrator.specs.inventory import RuntimeOptions
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.runtimes import board_runtimes, inventory_runtimes, runtime, runtimes
from orchestrator.specs.schema import schema_of
from orchestrator.toolchains import toolchain, toolchain_names

ROOT = Path(__file__).parents[2]


def test_each_file_is_a_runtime_of_its_name():
    files = {path.stem for path in (ROOT / "agents/runtimes").glob("*.py")} - {"__init__"}
    assert set(runtimes()) == files
    assert all(each.providers and each.label for each in runtimes().values())


def test_the_agent_on_a_board_finds_the_same_runtimes_in_its_zip(tmp_path: Path):
    bundle = tmp_path / "agent.pyz"
    bundle.write_bytes(agent_bundle().data)
    code = (
        f"import sys; sys.path.insert(0, {str(bundle)!r}); from farm_agent import runtimes;"
        "print(*runtimes.names()); assert runtimes.descriptor('tengine').label == 'Tengine'"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert told.stdout.split() == sorted(runtimes())


def test_what_names_a_runtime_names_one_of_the_table():
    assert {kind.runtime for kind in load_kinds().values()} <= set(board_runtimes())
    for name in toolchain_names():
        can = toolchain(name).capabilities
        assert (can.runtime or name) in board_runtimes()
        assert can.simulator == runtime(can.runtime or name).simulator or not can.simulator
    assert {each.simulator for each in runtimes().values()} - {""} <= set(inventory_runtimes())


def test_an_inventory_names_no_runtime_for_trials():
    assert "timed" in runtimes()
    assert "timed" not in inventory_runtimes()
    names = schema_of("kind")["properties"]["runtime"]
    assert names["enum"] == list(inventory_runtimes())
    with pytest.raises(Exception, match="timed"):
        RuntimeOptions(name="timed")


@pytest.mark.parametrize("name", inventory_runtimes())
def test_the_usual_provider_is_the_first_of_the_table(name: str):
    assert RuntimeOptions.model_validate({"name": name}).providers == runtime(name).providers[:1]


def test_an_unknown_runtime_of_an_entry_names_the_nearest(tmp_path: Path):
    from orchestrator.specs.inventory import load_inventory

    file = tmp_path / "inventory.yaml"
    file.write_text("boards:\n- name: a\n  kind: host-cpu\n  transport: local\n  runtime: tengin\n")
    with pytest.raises(UserError, match=r"inventory.yaml:5: .*did you mean 'tengine'"):
        load_inventory(file)
