"""The ladder: reconnect, reboot, power. Real SSH servers die and come back; nothing is lost.

The board that is switched off has lost all of farm's files when it is back.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.events import EventReader
from orchestrator.fleet.emulated.boards import ensure_key
from orchestrator.store.fleet_entries import Recovering
from orchestrator.store.fleet_log import FleetLog
from tests.openssh import SSHD, running_sshd
from tests.patience import ENDS_S
from tests.run.project import FLOAT, HOST, Project, entry

UINT8 = "uint8 per-tensor asymmetric, toolchain: onnxruntime"

SWITCH = """\
import contextlib, os, pathlib, shutil, signal, subprocess, sys
place, action = pathlib.Path(sys.argv[1]), sys.argv[2]
with open(place / "switched", "a") as log:
    log.write(action + "\\n")
pid = place / "pid"
if action == "off" and pid.exists():
    with contextlib.suppress(ProcessLookupError):  # it is off already
        os.kill(int(pid.read_text()), signal.SIGKILL)
if action in ("on", "reboot"):
    (place / "hung").unlink(missing_ok=True)
if action == "on":
    shutil.rmtree(place / "work", ignore_errors=True)  # it was in memory
    server = subprocess.Popen(
        [sys.argv[3], "-D", "-e", "-f", str(place / "sshd" / "sshd_config")],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pid.write_text(str(server.pid))
"""
HANGS = """\
import os, time
while os.path.exists({flag!r}):
    time.sleep(0.1)
import sys
mine = sys.modules.pop("onnxruntime")
sys.path = [p for p in sys.path if p != {folder!r}]
import onnxruntime
sys.modules["onnxruntime"] = onnxruntime
"""


def board(name: str, kind: str, sshd: object, key: Path, place: Path, extra: str) -> str:
    p = vars(sshd)
    return (
        f"  - name: {name}\n    kind: {kind}\n    transport:\n      ssh:\n"
        f"        host: {p['host']}\n        port: {p['port']}\n        user: {p['user']}\n"
        f"        key: {key}\n        host_key: {p['host_key']!r}\n"
        f"    runtime: onnxruntime\n    workdir: {place}/work\n    lock: workdir\n{extra}"
    )


@pytest.mark.slow
@pytest.mark.needs("sshd")
def test_a_dead_board_is_switched_on_again_and_a_hung_one_rebooted(tmp_path: Path) -> None:
    project = Project(tmp_path)
    key = tmp_path / "key"
    public = ensure_key(key)
    switch = tmp_path / "switch.py"
    switch.write_text(SWITCH)
    dead, hung = tmp_path / "dead", tmp_path / "hung-board"
    for place in (dead, hung):
        place.mkdir()
    flag = hung / "hung"
    flag.touch()
    package = hung / "packages" / "onnxruntime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(HANGS.format(flag=str(flag), folder=str(package.parent)))
    python = hung / "python3"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={package.parent} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    power = json.dumps([sys.executable, str(switch), str(dead), "{action}", SSHD])
    reboot = json.dumps(f"{sys.executable} {switch} {hung} reboot")
    with running_sshd(dead, public) as one, running_sshd(hung, public) as other:
        (dead / "pid").write_text(str(one.process.pid))
        project.write(
            FLOAT + entry("dead", UINT8) + entry("hung", UINT8),
            HOST
            + board(
                "dead",
                "imx8mp",
                one,
                key,
                dead,
                f"    python: {sys.executable}\n"
                f"    recovery: {{power: {power}, off_s: 0.5, boots_in_s: 60}}\n",
            )
            + board(
                "hung",
                "rv1126",
                other,
                key,
                hung,
                f"    python: {python}\n    recovery: {{reboot: {reboot}, boots_in_s: 60}}\n",
            ),
            300,
            30,
        )
        deadlines = {"silence_s": 4, "connect_s": 5, "command_s": 20, "open_s": 15, "lost_s": 6}
        environment = project.environment | {"FARM_DEADLINES": json.dumps(deadlines)}
        with open(tmp_path / "said.txt", "w") as said:
            run = subprocess.Popen(
                project.command("run"),
                cwd=tmp_path,
                env=environment,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        try:
            _die_three_times(project, run, dead)
            assert run.wait(ENDS_S) == 0, (tmp_path / "said.txt").read_text()[-4000:]
        finally:
            run.kill()
            with contextlib.suppress(ProcessLookupError):
                os.kill(int((dead / "pid").read_text()), signal.SIGKILL)
    assert (dead / "switched").read_text().split() == 3 * ["off", "on"]
    assert (hung / "switched").read_text().split() == ["reboot"]
    assert set(project.cells()) == {"this-host", "dead", "hung"}
    climbed = [e for e in FleetLog(tmp_path / "runs").entries() if isinstance(e, Recovering)]
    assert sorted((e.board, e.how) for e in climbed) == [
        *3 * [("dead", "power")],
        ("hung", "reboot"),
    ]
    states = {e.state for e in project.events() if e.event == "board_changed"}
    assert "recovering" in states
    assert "unfit" not in states
    # The hung board was rebooted before it had work: nothing disturbed its extraction.
    for role in ("gallery", "probe"):
        files = (
            project.held("extract", project.cells()[name]["provenance"]["keys"][role])
            for name in ("dead", "hung")
        )
        died, calm = ((folder / "features.npy").read_bytes() for folder in files)
        assert died == calm, role


def _die_three_times(project: Project, run: subprocess.Popen[str], place: Path) -> None:
    """Kill a board's server and all that it started: in deploy, in measure, in extract."""
    end = time.monotonic() + 400  # a busy machine needs most of it before the first board has work
    while not (project.latest / "events.jsonl").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    reader = EventReader(project.latest.resolve() / "events.jsonl")
    cues = [
        ("step_started", "deploy/dead"),
        ("step_started", "measure/dead"),
        ("step_progress", "extract/dead/"),
    ]
    while cues:
        assert run.poll() is None, (project.folder / "said.txt").read_text()[-3000:]
        assert time.monotonic() < end, (project.folder / "said.txt").read_text()[-3000:]
        for event in reader.new():
            kind, step = cues[0]
            if event.event == kind and str(getattr(event, "step", "")).startswith(step):
                leader = int((place / "pid").read_text())
                for pid in [leader, *_below(leader)]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                cues.pop(0)
                break
        time.sleep(0.02)


def _below(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *_below(child)]
    return found
