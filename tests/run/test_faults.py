"""What goes wrong in a run: it is said, the others' rows come out, nothing is left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pexpect
import pyte
import pytest

from orchestrator.fleet.emulated.boards import ensure_key
from tests.openssh import running_sshd
from tests.run.project import FLOAT, HOST, Project, emulated, entry

UINT8 = "uint8 per-tensor asymmetric"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def ssh_entry(name: str, kind: str, place: object, extra: str = "") -> str:
    """An inventory entry for a real SSH server."""
    p = vars(place) if not isinstance(place, dict) else place
    return (
        f"  - name: {name}\n    kind: {kind}\n    transport:\n      ssh:\n"
        f"        host: {p['host']}\n        port: {p['port']}\n        user: {p['user']}\n"
        f"        key: {p['key_file']}\n        host_key: {p['host_key']!r}\n{extra}"
    )


@pytest.fixture
def unused_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        yield held.getsockname()[1]


@pytest.mark.slow
@pytest.mark.needs("sshd")
def test_bad_boards_cost_the_others_nothing(
    project: Project, unused_port: int, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    public = ensure_key(key)
    with running_sshd(tmp_path, public) as sshd:
        place = {**vars(sshd), "key_file": key}
        gone = {**place, "port": unused_port}
        bare = "    runtime: {name: onnxruntime}\n    python: /usr/bin/python3\n"
        no_python = "    runtime: {name: onnxruntime}\n    python: /no/such/python3\n"
        project.write(
            FLOAT
            + entry("vim3", UINT8)
            + entry("gone", UINT8, ", toolchain: onnxruntime")
            + entry("bare", UINT8, ", toolchain: onnxruntime")
            + entry("snakeless", UINT8, ", toolchain: onnxruntime"),
            HOST
            + emulated("vim3", "khadas-vim3")
            + ssh_entry("gone", "imx8mp", gone, "    runtime: {name: onnxruntime}\n")
            + ssh_entry("bare", "rv1126", place, bare + f"    workdir: {tmp_path}/w1\n")
            + ssh_entry("snakeless", "rv1126", place, no_python + f"    workdir: {tmp_path}/w2\n"),
        )
        done = project.farm("run")
    assert done.returncode == 1, done.stdout + done.stderr
    assert set(project.cells()) == {"this-host", "vim3"}
    missing = project.results()["missing"]
    assert set(missing) == {"gone", "bare", "snakeless"}
    said = done.stdout
    assert "Traceback" not in said + done.stderr
    assert re.search(r"gone unreachable: .*refused", said, re.I)
    assert re.search(r"snakeless unfit: .*[Pp]ython", said)
    assert re.search(r"bare.*onnxruntime", said)


@pytest.mark.slow
@pytest.mark.needs("sshd")
def test_openssh_gives_the_same_features_byte_for_byte(project: Project, tmp_path: Path) -> None:
    import sys

    key = tmp_path / "key"
    public = ensure_key(key)
    with running_sshd(tmp_path, public) as sshd:
        place = {**vars(sshd), "key_file": key}
        options = (
            "    runtime: {name: onnxruntime, faithful: true}\n"
            f"    python: {sys.executable}\n    workdir: {tmp_path}/work\n"
        )
        project.write(
            FLOAT
            + entry("vim3", UINT8, ", toolchain: onnxruntime")
            + entry("real", UINT8, ", toolchain: onnxruntime"),
            HOST
            + emulated("vim3", "khadas-vim3")
            + ssh_entry("real", "khadas-vim3", place, options),
        )
        done = project.farm("run")
    assert done.returncode == 0, done.stdout + done.stderr
    cells = project.cells()
    assert cells["real"]["executed_by"] == "board"
    assert cells["real"]["backend"] == "onnxruntime (CPU)"
    keys = {name: cells[name]["provenance"]["keys"] for name in ("vim3", "real")}
    for role in ("gallery", "probe"):
        assert keys["vim3"][role] != keys["real"][role]
        one, other = (project.held("extract", keys[name][role]) / "features.npy" for name in keys)
        same = one.read_bytes() == other.read_bytes()
        assert same
    assert cells["vim3"]["rank1"] == cells["real"]["rank1"]


def _is_extracting(project: Project) -> bool:
    """Whether features of some images have come, and not of all."""
    events = project.events()
    return any(e.event == "step_progress" and e.step.startswith("extract") for e in events)


def processes_of(project: Project) -> list[str]:
    """Everything still running that was started for a project, by working folder or arguments."""
    found = []
    for entry_ in Path("/proc").iterdir():
        if not entry_.name.isdigit():
            continue
        try:
            words = (entry_ / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            folder = os.readlink(entry_ / "cwd")
            state = (entry_ / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z" and any(str(project.folder) in place for place in (words, folder)):
            found.append(f"{entry_.name} {words[:120]}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_gives_the_prompt_back_and_leaves_nothing(
    project: Project, number: signal.Signals, code: int
) -> None:
    project.write(FLOAT + entry("vim3", UINT8), HOST + emulated("vim3", "khadas-vim3"), 500)
    run = subprocess.Popen(
        project.command("run"),
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert run.stdout is not None
    said = ""
    for line in run.stdout:
        said += line
        if "extract/" in line and "started" in line:
            break
    while not _is_extracting(project):
        assert run.poll() is None
        time.sleep(0.05)
    began = time.monotonic()
    run.send_signal(number)
    assert run.wait(60) == code
    said += run.stdout.read()
    assert "farm resume" in said
    assert "Traceback" not in said
    name = project.latest.resolve().name
    if number == signal.SIGINT:
        while processes_of(project) and time.monotonic() - began < 60:
            time.sleep(0.1)
        assert processes_of(project) == []
    earlier = project.events()
    done = project.farm("resume")  # else typed at once, while the driver may still put away
    before = {e.step for e in earlier if e.event == "step_finished"}
    assert "stopped by" in said
    assert "not finished" not in said
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"run {name}: resumed: " in done.stdout
    assert [path.name for path in (project.folder / "runs").glob("2*")] == [name]
    again = {e.step for e in project.events() if e.event == "step_finished" and not e.cached}
    assert not {step for step in before & again if not step.startswith("deploy")}


@pytest.mark.slow
def test_killing_the_console_ends_everything(project: Project) -> None:
    project.write(FLOAT, HOST, 500)
    run = subprocess.Popen(
        project.command("run"),
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    for line in run.stdout:
        if "extract/" in line and "started" in line:
            break
    run.kill()
    run.wait(30)
    began = time.monotonic()
    while processes_of(project) and time.monotonic() - began < 60:
        time.sleep(0.1)
    assert processes_of(project) == []


@pytest.mark.slow
def test_a_killed_ray_worker_spoils_neither_the_screen_nor_the_run(project: Project) -> None:
    project.write(FLOAT + entry("vim3", UINT8), HOST + emulated("vim3", "khadas-vim3"), 600)
    screen = pyte.Screen(120, 40)
    stream = pyte.Stream(screen)
    command = project.command("run")
    child = pexpect.spawn(
        command[0],
        command[1:],
        cwd=str(project.folder),
        env=project.environment | {"TERM": "xterm-256color"},
        dimensions=(40, 120),
        encoding="utf-8",
        timeout=5,
    )
    killed = False
    everything = ""
    end = time.monotonic() + 500  # a busy machine takes minutes
    while time.monotonic() < end:
        try:
            text = child.read_nonblocking(65536, timeout=0.2)
        except pexpect.TIMEOUT:
            text = ""
        except pexpect.EOF:
            break
        stream.feed(text)
        everything += text
        running = (
            any(e.event == "step_started" and e.stage == "extract" for e in project.events())
            if (project.folder / "runs").exists()
            else False
        )
        if running and not killed:
            time.sleep(1)
            workers = subprocess.run(
                ["pgrep", "-f", "ray::Host"], capture_output=True, text=True
            ).stdout.split()
            mine = [pid for pid in workers if _belongs(int(pid), child.pid)]
            assert mine, "no host actor is running"
            for pid in mine:
                os.kill(int(pid), signal.SIGKILL)
            killed = True
    child.close()
    assert killed
    assert child.exitstatus == 0, everything[-3000:]
    for noise in ("(raylet)", "SIGKILL", "Traceback", "ray::", "A worker died"):
        assert noise not in everything
    shown = "\n".join(screen.display)
    assert "This host" in shown
    retried = [e for e in project.events() if e.event == "step_failed" and e.retry]
    assert retried
    log = (project.latest / "driver.log").read_text()
    assert "died" in log or "raylet" in log
    features = [
        np.load(path)
        for path in (project.folder / ".farm" / "store" / "extract").glob("*/features.npy")
    ]
    assert len(features) == 4
    assert all(np.isfinite(f).all() for f in features)


def _belongs(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False
