"""`farm boards` says what a board is: a real OpenSSH server whose agent sees another root."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store.fleet_log import FleetLog
from tests.cli.servers import Farm, adding, board_like
from tests.fleet.dressed import BOARDS, dress

pytestmark = pytest.mark.needs("sshd")
QEMU = "qemu-x86_64-static"
PI = {
    "proc/device-tree/model": b"Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/device-tree/compatible": b"raspberrypi,4-model-b\0brcm,bcm2711\0",
}


def python_of(folder: Path, machine: str, files: dict[str, bytes]) -> Path:
    """A Python that says it runs on `machine` and whose agent sees `files` as its root."""
    root = dress(folder / "seen", files)
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        f"import platform\nplatform.machine = lambda: {machine!r}\n"
    )
    python = folder / "python3"
    python.write_text(
        f"#!/bin/sh\nexport PYTHONPATH='{site}'\n"
        f'case "$1" in *agent-*.pyz) exec "{sys.executable}" "$@" --root "{root}";; esac\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    return python


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="its cpuinfo stands for a PC's")
def test_qemu_in_user_mode_is_an_emulator(farm: Farm, tmp_path: Path) -> None:
    """What such a board shows: uname of the board, /proc/cpuinfo of the PC below."""
    files = {
        name: data for name, data in BOARDS["nxp"].files.items() if "device-tree" not in name
    } | {"proc/cpuinfo": Path("/proc/cpuinfo").read_bytes()}
    python = python_of(tmp_path, "aarch64", files)
    with board_like(tmp_path, files) as (sshd, key):
        farm(*adding(sshd, key, "--name", "arm", "--kind", "imx8mp", "--python", str(python)))
        out = farm("check", "arm")[1]
        by = "its system says aarch64 and its /proc/cpuinfo is of x86: QEMU's user mode"
        assert f"  emulator: {by}" in out
        assert "no imx8mp" not in out
        assert shown(farm)["emulator"].startswith(by)
        assert "an emulator: its system" in farm("list")[1]


@pytest.mark.slow
@pytest.mark.needs(QEMU)
@pytest.mark.skipif(platform.machine() != "x86_64", reason="QEMU's is of this processor")
def test_qemu_of_the_same_processor_is_an_emulator(farm: Farm, tmp_path: Path) -> None:
    """Over plain SSH, of a kind that is any computer: uname and /proc/cpuinfo fit each other."""
    python, own = tmp_path / "python3", os.path.realpath(sys.executable)
    site = next(path for path in sys.path if path.endswith("site-packages"))
    python.write_text(f"#!/bin/sh\nPYTHONPATH='{site}' exec {QEMU} -0 '{python}' '{own}' \"$@\"\n")
    python.chmod(0o755)
    with board_like(tmp_path, {}) as (sshd, key):
        farm(*adding(sshd, key, "--name", "pc", "--kind", "host-cpu", "--python", str(python)))
        out = farm("check", "pc")[1]
        by = "its Python is executed by qemu-x86_64-static for x86: QEMU's user mode"
        assert f"  emulator: {by}" in out
        assert shown(farm)["emulator"].startswith(by)


def shown(farm: Farm) -> dict[str, Any]:
    (found,) = json.loads(farm("list", "--json")[1])
    return dict(found["described"])


def test_a_raspberry_pi_is_no_khadas(farm: Farm, tmp_path: Path) -> None:
    python = python_of(tmp_path, "aarch64", PI)
    with board_like(tmp_path, PI) as (sshd, key):
        code, out, err = farm(*adding(sshd, key, "--name", "pi"))
        assert code == 2, out + err
        assert "no kind knows the device tree's raspberrypi,4-model-b" in err
        farm(*adding(sshd, key, "--name", "pi", "--kind", "khadas-vim3", "--python", str(python)))
        code, out, err = farm("check", "pi")
        board = "Raspberry Pi 4 Model B Rev 1.4 (raspberrypi,4-model-b, brcm,bcm2711), aarch64"
        why = "another board: its device tree says raspberrypi,4-model-b, brcm,bcm2711"
        assert f"  it is: {board}\n" in out
        assert f"  no khadas-vim3: {why}" in out
        assert "  unseen: SoC, accelerator driver\n" in out
        assert shown(farm)["contradicts"].startswith(why)
        assert "another board: " in farm("list")[1]
        assert board in farm("show", "pi")[1]


def test_a_genuine_board_has_nothing_against_it(farm: Farm, tmp_path: Path) -> None:
    files = dict(BOARDS["nxp"].files)
    python = python_of(tmp_path, "aarch64", files)
    with board_like(tmp_path, files) as (sshd, key):
        farm(*adding(sshd, key, "--name", "nxp", "--python", str(python)))
        described = shown(farm)
        assert described["contradicts"] == ""
        assert described["unseen"] == []
        assert described["board"].startswith("NXP i.MX8MPlus EVK board (fsl,imx8mp-evk, ")
        assert "no imx8mp" not in farm("check", "nxp")[1]


@pytest.mark.slow
def test_versions_that_do_not_fit_are_said(farm: Farm, tmp_path: Path) -> None:
    files = BOARDS["nxp"].files | {
        "usr/lib/libGAL.so": b"\x7fELF\n\0$VERSION$6.4.6:351518$\n\0",
    }
    python = python_of(tmp_path, "aarch64", files)
    library = tmp_path / "libtengine-lite.so"  # no library that loads, but one that is named
    library.write_bytes(b"\x7fELF")
    with board_like(tmp_path, files) as (sshd, key):
        farm(*adding(sshd, key, "--name", "nxp", "--python", str(python)))
        inventory = Path("device_inventory.yaml")
        text = inventory.read_text().rstrip()
        inventory.write_text(f"{text}\n    runtime: {{name: tengine, library: {library}}}\n")
        out = farm("check", "nxp")[1]
        words = "the board's driver galcore 6.4.11.p2 and its library libGAL 6.4.6"
        assert f"  versions: {words} are of different releases" in out
        assert shown(farm)["mismatches"][0].startswith(words)
        assert words in farm("show", "nxp")[1]


def test_a_log_of_before_says_nothing_of_what_a_board_is(tmp_path: Path) -> None:
    line = '{"v":1,"at":1.0,"board":"b","by":"","event":"checked","identity":"i","state":"ready"}'
    (tmp_path / "fleet.jsonl").write_text(line + "\n")
    standing = FleetLog(tmp_path).standings({"b": "i"}, now=2.0)["b"]
    assert standing.state == "ready"
    assert (standing.described.board, standing.described.contradicts) == ("", "")
