"""Processors of emulated boards: found, refused, never another one than the entry says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import installations, machines
from orchestrator.fleet.machines import debian, installing
from orchestrator.fleet.machines.recipes import AARCH64
from orchestrator.specs.inventory import load_inventory
from tests.cli.conftest import farm
from tests.cli.servers import Farm

__all__ = ["farm"]


@pytest.fixture(autouse=True)
def none_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of machines of the test's own."""
    monkeypatch.setenv(machines.VARIABLE, str(tmp_path / "machines"))
    return tmp_path / "machines"


def record(machine: machines.Machine, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / installations.RECORD).write_text(json.dumps(machine.to_json()))


def test_a_board_is_written_with_its_processor(farm: Farm) -> None:
    code, out, err = farm("emulate", "arm", "--machine", "aarch64")
    assert code == 1, err
    assert "aarch64 is not installed yet: farm boards machine install aarch64" in out
    board = load_inventory("device_inventory.yaml").board("arm")
    assert board is not None
    assert board.machine == "aarch64"
    assert "emulated on this host as aarch64" in farm("list")[1]
    code, out, _ = farm("emulate", "vim", "--kind", "khadas-vim3")
    assert code == 0
    assert "A311D, emulated on this host" in out
    code, _, err = farm("emulate", "rv", "--kind", "rv1126", "--machine", "aarch64")
    assert code == 2
    assert "not aarch64" in err
    assert load_inventory("device_inventory.yaml").board("rv") is None


def test_nothing_is_fetched_unasked(farm: Farm) -> None:
    for name in machines.MACHINES:
        assert (
            f"{name:<9} not installed; farm boards machine install {name}"
            in farm("machine", "list")[1]
        )
    assert "is not installed" in farm("machine", "remove", "aarch64")[1]


def test_a_board_of_a_processor_that_is_not_there_is_not_started(farm: Farm) -> None:
    farm("emulate", "arm", "--machine", "aarch64")
    code, out, err = farm("check", "arm")
    assert code == 1
    assert "farm boards machine install aarch64" in out + err


def test_an_agent_on_another_processor_is_no_such_board(farm: Farm, none_installed: Path) -> None:
    """A wrapper that runs this host's own Python is found out by what the agent tells."""
    folder = machines.folder_of("aarch64")
    system = "/usr/bin:/bin"
    own = machines.Machine("aarch64", str(folder), "/bin/sh", sys.executable, system, "", "")
    record(own, folder)
    assert machines.find("aarch64") == own
    farm("emulate", "arm", "--machine", "aarch64")
    code, out, err = farm("check", "arm")
    assert code == 1
    assert "and the board is emulated as aarch64" in out + err
    assert "ready" not in out


def test_a_record_counts_where_its_programs_are(none_installed: Path) -> None:
    folder = machines.folder_of("armv7l")
    assert machines.find("armv7l") is None
    gone = machines.Machine("armv7l", str(folder), "/bin/sh", str(folder / "no"), "", "", "")
    record(gone, folder)
    assert machines.find("armv7l") is None
    elsewhere = machines.Machine("armv7l", "/elsewhere", "/bin/sh", "/bin/sh", "", "", "")
    record(elsewhere, folder)
    assert machines.find("armv7l") is None


@pytest.mark.parametrize(
    ("name", "text", "mirror"),
    [
        ("debian.sources", "URIs: http://mirror.lab/debian\nSuites: bookworm\n", "mirror.lab"),
        ("a.list", "deb [arch=amd64] https://mirror.lab/debian bookworm main\n", "mirror.lab"),
        ("a.list", "# deb http://mirror.lab/debian bookworm main\n", "deb.debian.org"),
        ("ubuntu.sources", "URIs: http://archive.ubuntu.com/ubuntu\n", "deb.debian.org"),
    ],
)
def test_the_mirror_is_the_hosts_own(name: str, text: str, mirror: str, tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / name).write_text(text)
    assert mirror in debian.configured_mirror(tmp_path)


def test_wrappers_run_what_the_recipe_says(tmp_path: Path) -> None:
    """Called as QEMU would be: this host's echo shows each word that the emulator gets."""
    shell, python = installing.write_wrappers(AARCH64, tmp_path, "/bin/echo")
    says = subprocess.run([python, "-c", "a b"], capture_output=True, text=True, check=True).stdout
    assert f"-0 {python} -L {tmp_path}/root" in says
    assert says.rstrip().endswith(f"{tmp_path}/root/usr/bin/python3.11 -c a b")
    says = subprocess.run([shell, "-c", "x"], capture_output=True, text=True, check=True).stdout
    busybox = f"{tmp_path}/root/bin/busybox"
    assert says.split() == ["-L", f"{tmp_path}/root", "-0", "sh", busybox, "-c", "x"]
    assert "QEMU_CPU=cortex-a72" in python.read_text()
