"""A board that truly loses its power, in deploy, in measure and in extract; nothing else is lost.

An aarch64 virtual machine boots Debian's kernel; `recovery: {power: …}` is its switch. Soak only:
building it fetches 100 MB, and QEMU executes in software.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.events import EventReader
from orchestrator.fleet.transport.ssh import SshTransport
from orchestrator.store.fleet_entries import Recovering
from orchestrator.store.fleet_log import FleetLog
from tests import virtual_board
from tests.patience import ENDS_S
from tests.run.project import ROOT, Project, entry

pytestmark = [
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.needs(
        *("qemu-system-aarch64", "apt-get", "dpkg-deb", "dropbearkey", "busybox", "mke2fs")
    ),
]
UINT8 = "uint8 per-tensor asymmetric, toolchain: onnxruntime"
# The event at which the power goes, and how long after it.
CUTS = (("deploy/virt", 0.0), ("measure/virt", 2.0), ("extract/virt/gallery", 2.0))
BOOT_S = 120.0
# QEMU executes in software: importing onnxruntime takes half a minute on a busy machine.
DEADLINES = {
    "silence_s": 20,
    "connect_s": 20,
    "command_s": 60,
    "open_s": 600,
    "lost_s": 20,
    "chunk_s": 120,
    "transfer_s": 120,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The board's folder; it is on."""
    named = os.environ.get("FARM_TEST_VIRTUAL_BOARD")
    folder = Path(named) if named else tmp_path_factory.mktemp("virtual")
    folder.mkdir(exist_ok=True)
    virtual_board.build(folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        (folder / "port").write_text(str(free.getsockname()[1]))
    virtual_board.switch_on(folder)
    try:
        _boots(folder)
        _first_import(folder)
        yield folder
    finally:
        virtual_board.switch_off(folder)


def _boots(folder: Path) -> float:
    """Wait for its SSH server; the seconds that took."""
    began = time.monotonic()
    while True:
        with socket.socket() as made:
            made.settimeout(30)
            try:
                made.connect(("127.0.0.1", int((folder / "port").read_text())))
                if made.recv(4) == b"SSH-":
                    return time.monotonic() - began
            except OSError:
                pass
        said = (folder / "console").read_text(errors="replace")[-2000:]
        assert time.monotonic() < began + BOOT_S, said
        time.sleep(0.1)


def _first_import(folder: Path) -> None:
    """Python's byte code is written once and for all, and is on the disk."""
    about = virtual_board.build(folder)
    port = int((folder / "port").read_text())
    transport = SshTransport(
        "virt",
        "127.0.0.1",
        port=port,
        user="root",
        key_file=Path(about["key"]),
        host_key=about["host_key"],
        use_agent=False,
    )
    transport.connect(60)
    try:
        done = transport.run("python3 -c 'import onnxruntime' && sync", timeout_s=300)
        assert done.status == 0, done.stderr
    finally:
        transport.close()


def project_in(folder: Path, place: Path) -> Project:
    """A project whose one board is the virtual one."""
    about = virtual_board.build(place)
    folder.mkdir()
    project = Project(folder, {"FARM_DEADLINES": json.dumps(DEADLINES)})
    switch = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.virtual_board"]
    switch += [str(place), "{action}"]
    port = (place / "port").read_text()
    board = (
        f"  - name: virt\n    kind: host-cpu\n    transport:\n      ssh:\n        host: 127.0.0.1\n"
        f"        port: {port}\n        user: root\n        key: {about['key']}\n"
        f"        host_key: {about['host_key']}\n"
        f"    recovery: {{power: {json.dumps(switch)}, off_s: 1, boots_in_s: {BOOT_S:.0f}}}\n"
    )
    project.write(entry("virt", UINT8), board, identities=12, unknown=4)
    return project


def features(project: Project) -> dict[str, bytes]:
    """The bytes of the row's features, by role."""
    keys = project.cells()["virt"]["provenance"]["keys"]
    roles = ("gallery", "probe")
    return {
        role: (project.held("extract", keys[role]) / "features.npy").read_bytes() for role in roles
    }


def test_nothing_is_lost_with_the_power(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calm = project_in(tmp_path / "calm", place)
    ended = calm.farm("run")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    row = calm.cells()["virt"]
    # QEMU's software, whatever the inventory calls it: no Time, and no board's keys.
    assert (row["executed_by"], row["latency"]) == ("emulated", None)
    assert row["backend"] == "onnxruntime (emulated)"
    assert "whose processor is software (TCG)" in row["verdict_reason"]

    cut = project_in(tmp_path / "cut", place)
    run = cut.begin()
    try:
        table = _cut_the_power(cut, run, place)
        assert run.wait(2 * ENDS_S) == 0, (cut.folder / "said.txt").read_text()[-4000:]
    finally:
        run.kill()
    assert (place / "switched").read_text().split() == len(CUTS) * ["off", "on"]
    climbed = [e for e in FleetLog(cut.folder / "runs").entries() if isinstance(e, Recovering)]
    assert [(e.board, e.how) for e in climbed] == len(CUTS) * [("virt", "power")]
    assert features(cut) == features(calm)
    with capsys.disabled():
        print("\n" + "\n".join(table))
        print("features of gallery and probe: equal to the byte")


def _cut_the_power(project: Project, run: subprocess.Popen[bytes], place: Path) -> list[str]:
    """Cut it at each cue; a line for each."""
    end = time.monotonic() + 600
    while not (project.latest / "events.jsonl").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    reader = EventReader(project.latest.resolve() / "events.jsonl")
    lines, cues = [], list(CUTS)
    while cues:
        assert run.poll() is None, (project.folder.parent / "said.txt").read_text()[-3000:]
        assert time.monotonic() < end, (project.folder.parent / "said.txt").read_text()[-3000:]
        for event in reader.new():
            step, delay = cues[0]
            started = event.event == "step_started" and getattr(event, "step", "") == step
            if started:
                time.sleep(delay)
                virtual_board.switch_off(place)
                began = time.monotonic()
                while not (place / "pid").exists() and run.poll() is None:
                    time.sleep(0.05)
                back = time.monotonic() - began
                lines.append(f"{step}: power lost, on again after {back:.1f} s")
                cues.pop(0)
                break
        time.sleep(0.02)
    return lines
