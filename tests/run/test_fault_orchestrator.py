"""Rows of the fault table that strike the orchestrator itself: killed, doubled, out of disk."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from orchestrator.events import EventReader
from tests.patience import BUSY, ENDS_S
from tests.run.faulty import (
    SEED,
    Faulty,
    below,
    children,
    comm,
    driver_of,
    extracts,
    processes,
    strike,
    title,
)

MOMENTS = 10

pytestmark = pytest.mark.slow


@pytest.mark.soak
def test_rays_head_killed_ends_the_run_soon_and_resume_goes_on(
    undisturbed: Faulty, project: Faulty
) -> None:
    for command, name in (("run", "gcs_server"), ("resume", "raylet")):
        run = project.start(command)
        project.happens(run, {name: (extracts("rv"), partial(head, project, name))})
        began = time.monotonic()
        assert project.ends(run) == 1, project.said[-3000:]
        assert time.monotonic() - began < 25
        assert f"Ray's {name}" in project.said
    assert "Traceback" not in project.said
    done = project.farm("resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.features() == undisturbed.features()


def head(project: Faulty, name: str) -> None:
    """Kill one process of a run's Ray head."""
    below = [pid for driver in driver_of(project) for pid in children(driver)]
    strike([pid for pid in below if comm(pid) == name])


@pytest.mark.soak
def test_the_orchestrator_killed_at_ten_moments_loses_nothing_that_was_finished(
    undisturbed: Faulty, project: Faulty
) -> None:
    chance = random.Random(SEED)
    kept: set[str] = set()
    struck = 0
    while struck < MOMENTS:
        run = project.start("resume" if struck and kept else "run")
        # Some while it still starts, some in the middle, some near its end.
        end = time.monotonic() + chance.uniform(0.5, 12)
        while run.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        if run.poll() is None:
            struck += 1
            for pid in [run.pid, *driver_of(project)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        run.wait(10 * BUSY)
        finished = [e for e in project.events() if e.event == "step_finished" and not e.cached]
        made = {e.step for e in finished if e.stage != "deploy"}
        assert not made & kept, f"made twice: {made & kept}"
        kept |= made
        gone = time.monotonic() + 15 * BUSY
        while agents := processes(f"{project.folder}/", " serve "):
            assert time.monotonic() < gone, agents
            time.sleep(0.1)
        if struck < MOMENTS and run.returncode == 0:
            assert project.features() == undisturbed.features()
            project.forget_features()
            kept = set()
    done = project.farm("resume") if (project.folder / "runs").exists() else project.farm("run")
    assert done.returncode == 0, done.stdout + done.stderr
    again = {e.step for e in project.events() if e.event == "step_finished" and not e.cached}
    assert not {step for step in kept & again if not step.startswith("deploy")}
    assert project.features() == undisturbed.features()


@pytest.mark.soak
def test_a_killed_host_actor_costs_the_steps_in_flight(
    undisturbed: Faulty, project: Faulty
) -> None:
    run = project.start("run")
    project.under_way("vim3", run)
    before = {e.step for e in project.events() if e.event == "step_finished" and not e.cached}
    strike([pid for pid in {*below(driver_of(project))} if title(pid).startswith("ray::Host")])
    assert project.ends(run) == 0, project.said[-3000:]
    failed = [e for e in project.events() if e.event == "step_failed"]
    assert failed
    assert {(e.retry, e.error) for e in failed} == {(True, "transient")}
    finished = [e.step for e in project.events() if e.event == "step_finished" and not e.cached]
    assert all(finished.count(step) == 1 for step in before if not step.startswith("deploy"))
    assert project.features() == undisturbed.features()


def test_damage_in_the_store_is_found_when_it_is_read_and_made_again(
    undisturbed: Faulty, tmp_path: Path
) -> None:
    project = Faulty(tmp_path / "p")
    shutil.copytree(undisturbed.folder, project.folder, symlinks=True)
    keys = undisturbed.keys()
    store = project.folder / ".farm" / "store"
    lost = [project.held("extract", keys[f"extract/rv/{role}"]) for role in ("gallery", "probe")]
    for folder in (store / "score", store / "compare", *lost):
        shutil.rmtree(folder)
    harmed = [
        project.held("extract", keys["extract/vim3/probe"]) / "features.npy",
        project.held("images", keys["images/gallery"]) / "images.npy",
        project.held("convert", keys["convert/rknn1-twin/uint8-per-tensor-asymmetric"])
        / "artifact",
    ]
    for file in harmed:
        flip(file)
    done = project.farm("resume")
    assert done.returncode == 0, done.stdout + done.stderr
    failed = [e for e in project.events() if e.event == "step_failed"]
    assert all(e.retry and "damaged in the store" in e.message for e in failed), failed
    for file in harmed:
        assert any(str(file.relative_to(project.folder)) in e.message for e in failed), file
    states = {e.state for e in project.events() if e.event == "board_changed"}
    assert not states & {"unfit", "unreachable", "recovering"}  # no board's fault
    assert project.features() == undisturbed.features()


def flip(file: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.soak
def test_two_orchestrators_at_once_share_the_work(undisturbed: Faulty, project: Faulty) -> None:
    one = project.start("run")
    project.until(lambda e: e.event == "board_changed", one)
    other = project.start("run")
    assert project.ends(one) == 0, project.said[-3000:]
    assert project.ends(other) == 0, project.said[-3000:]
    made: list[str] = []
    waited: list[str] = []
    for folder in sorted((project.folder / "runs").glob("2*")):
        for event in EventReader(folder / "events.jsonl").new():
            if event.event == "step_finished" and event.stage == "extract" and not event.cached:
                made.append(event.key)
            if event.event == "board_changed" and "in use by" in event.reason:
                waited.append(event.reason)
    assert len(made) == len(set(made)) == 8
    assert waited
    assert project.features() == undisturbed.features()


FULL = """\
set -u
mount -t tmpfs -o size="$SIZE" none .farm/store
cp -a calm/. .farm/store/
"$@" run; echo "first $?"
mount -o remount,size=400m .farm/store
"$@" resume; echo "second $?"
mkdir kept
cp -a .farm/store/. kept/
"""


@pytest.mark.soak
@pytest.mark.needs("unshare")
def test_a_full_disk_is_named_and_resume_goes_on_once_there_is_room(
    undisturbed: Faulty, project: Faulty
) -> None:
    store = project.folder / ".farm" / "store"
    used = sum(f.stat().st_size // 4096 + 1 for f in store.rglob("*") if f.is_file()) * 4096
    store.rename(project.folder / "calm")
    store.mkdir()
    as_root = ["-m"] if os.geteuid() == 0 else ["-Urm"]
    if subprocess.run(["unshare", *as_root, "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces for this user here")
    done = subprocess.run(
        ["unshare", *as_root, "sh", "-c", FULL, "sh", *project.command()],
        cwd=project.folder,
        env=project.environment | {"SIZE": str(used + (600 << 10))},
        capture_output=True,
        text=True,
        timeout=ENDS_S,
    )
    assert "first 1" in done.stdout, done.stdout + done.stderr
    assert "no room left" in done.stdout
    assert "second 0" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    store.rmdir()
    (project.folder / "kept").rename(store)
    assert project.features() == undisturbed.features()
