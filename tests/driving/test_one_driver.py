"""A run is planned once, in its driver process, which alone writes event log and store."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.driving.start import DriverProcess
from orchestrator.request import Request
from tests.driving.spy import Seen, Spy
from tests.patience import BUSY
from tests.run.project import FLOAT, HOST, Project

DRIVER = "orchestrator.driving.process"
# Tengine's file for a real board needs its vendor's tool, which is not installed here.
NEVER = "  - {name: never, boards: vim3, quantization: uint8 per-tensor asymmetric}\n"
REAL = "  - {name: vim3, kind: khadas-vim3, transport: {ssh: {host: 192.0.2.1}}}\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "p").mkdir()
    return Project(tmp_path / "p")


@pytest.fixture
def spy(tmp_path: Path, project: Project) -> Spy:
    made = Spy(tmp_path)
    project.variables |= made.variables
    return made


def the_driver(seen: list[Seen], project: Project) -> int:
    """The one process that planned; nobody else wrote an event, nor anything into the store."""
    planned = [each.pid for each in seen if each.what == "plans"]
    assert len(planned) == 1, planned
    assert [DRIVER in each.command for each in seen if each.what == "plans"] == [True]
    store = str(project.folder / ".farm" / "store") + "/"
    written = [
        each
        for each in seen
        if each.what == "writes"
        and (each.path.startswith(store) or each.path.endswith("/events.jsonl"))
    ]
    assert any(each.path.endswith("/events.jsonl") for each in written)
    assert {each.pid for each in written} == set(planned), written
    return planned[0]


def test_a_run_of_which_nothing_can_be_done_is_planned_once_by_its_driver(
    project: Project, spy: Spy
) -> None:
    project.write(NEVER, REAL)
    for command, rows in (("run", "1 of 1 row cannot run"), ("resume", "1 of 1 row cannot run")):
        done = project.farm(command)
        assert (done.returncode, rows in done.stdout) == (1, True), done.stdout + done.stderr
        the_driver(spy.seen(), project)
    assert not (project.latest / "driver.log").exists()


@pytest.mark.slow
def test_runs_with_ray_and_from_the_store_are_planned_once_by_their_driver(
    project: Project, spy: Spy
) -> None:
    project.write(FLOAT, HOST)
    for words in (["run"], ["run"], ["run", "--remeasure"], ["resume"]):
        done = project.farm(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        if words != ["resume"]:  # of a complete run: it is only read
            the_driver(spy.seen(), project)
    seen = spy.seen()
    assert [each.what for each in seen if each.what == "plans"] == ["plans"]
    assert not [e for e in seen if e.what == "writes" and e.path.endswith("events.jsonl")]


def test_what_cannot_be_planned_is_said_and_leaves_no_run(project: Project) -> None:
    project.write(FLOAT.replace("this-host", "nobody"), HOST)
    done = project.farm("run")
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("farm: ")
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project.folder / "runs").exists()


def drivers(project: Project) -> list[int]:
    """Driver processes at work in a project, and those above them."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            here = os.readlink(place / "cwd") == str(project.folder)
            state = (place / "stat").read_text().rpartition(")")[2].split()[0]
            if here and DRIVER in words and state not in "ZX":
                found.append(int(place.name))
    return found


def vanish(project: Project) -> bool:
    """Whether no driver process is left soon."""
    end = time.monotonic() + 10 * BUSY
    while drivers(project) and time.monotonic() < end:
        time.sleep(0.05)
    return not drivers(project)


@pytest.fixture
def endless(project: Project) -> Project:
    """A project whose planning never ends: its matrix is a pipe into which nobody writes."""
    project.write(FLOAT, HOST)
    (project.folder / "matrix.yaml").unlink()
    os.mkfifo(project.folder / "matrix.yaml")
    return project


def planning(project: Project) -> subprocess.Popen[str]:
    """A run whose driver is planning."""
    run = subprocess.Popen(
        project.command("run"),
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Writing to it can be opened once somebody reads.
    end = time.monotonic() + 30 * BUSY
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            os.close(os.open(project.folder / "matrix.yaml", os.O_RDONLY | os.O_NONBLOCK))
        if len(drivers(project)) == 2:
            break
        time.sleep(0.05)
    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_console_that_ends_while_its_driver_plans_leaves_neither_driver_nor_run(
    endless: Project, number: signal.Signals
) -> None:
    run = planning(endless)
    assert len(drivers(endless)) == 2
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    if number == signal.SIGINT:
        assert (run.returncode, said) == (130, "farm: stopped by Ctrl-C\n")
    assert vanish(endless)
    assert not (endless.folder / "runs").exists()


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.05, 0.1, 0.3])
def test_a_driver_told_to_stop_at_once_leaves_no_child(endless: Project, after_s: float) -> None:
    folder = endless.folder
    request = Request(
        str(folder / "matrix.yaml"),
        str(folder / "device_inventory.yaml"),
        str(folder / ".farm"),
        str(folder / "runs"),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        driver = DriverProcess(request)
    time.sleep(after_s)
    driver.terminate()
    end = time.monotonic() + 10 * BUSY
    while driver.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert driver.poll() is not None
    assert vanish(endless)
    assert not (folder / "runs").exists()
    with driver:
        pass


def test_what_is_printed_while_the_driver_plans_is_in_its_log(tmp_path: Path) -> None:
    """Even what a compiled library writes past Python, and nothing of it on the terminal."""
    code = (
        "import os; from orchestrator.driving.captured import capture, captured\n"
        "capture(); os.write(2, b'panicked'); os.write(2, b' at datetime.rs')\n"
        "print(captured().decode())\n"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("panicked at datetime.rs\n", "")
