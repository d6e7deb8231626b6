"""What the fault table's tests share: runs that are disturbed while they go on, and by what."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from orchestrator.events import Event, EventReader
from tests.openssh import SshdAddress
from tests.run.project import FLOAT, HOST, Project, emulated, entry

UINT8 = "uint8 per-tensor asymmetric"
PLAIN = f"{UINT8}, toolchain: onnxruntime"
INT8 = "int8 per-channel symmetric"
IDENTITIES, UNKNOWN = 300, 40
DEADLINES = {"silence_s": 4, "connect_s": 5, "command_s": 20, "queue_s": 90, "lost_s": 60}
EMULATED = {"jetson": "jetson-xavier-nx", "vim3": "khadas-vim3", "rv": "rv1126"}
SEED = 7
PATIENCE_S = 240  # of the tests; Ray alone may take a minute to start on a busy machine


@dataclass
class Faulty(Project):
    """A project whose runs are disturbed while they go on."""

    deadlines: dict[str, float] = field(default_factory=lambda: dict(DEADLINES))
    told_before: dict[Path, int] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """With short deadlines."""
        return super().environment | {"FARM_DEADLINES": json.dumps(self.deadlines)}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`farm` in the background; its output goes to a file."""
        logs = (self.folder / "runs").glob("2*/events.jsonl")
        self.told_before = {log: len(list(EventReader(log).new())) for log in logs}
        with open(self.folder / "said.txt", "a") as said:
            return subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
            )

    @property
    def said(self) -> str:
        """All that the background runs said."""
        return (self.folder / "said.txt").read_text()

    def ends(self, run: subprocess.Popen[str], timeout: float = PATIENCE_S) -> int:
        """Wait for a run, and end it for good when it hangs."""
        try:
            return run.wait(timeout)
        except subprocess.TimeoutExpired:
            run.kill()
            pytest.fail(f"the run did not end within {timeout} s:\n{self.said[-3000:]}")

    def news(self) -> Iterator[Event]:
        """Events since the last `start`, as they are there now; nothing more when all are told."""
        for log in (self.folder / "runs").glob("2*/events.jsonl"):
            told = self.told_before.get(log, 0)
            for event in islice(EventReader(log).new(), told, None):
                told += 1
                yield event
            self.told_before[log] = told

    def until(self, what: Callable[[Event], bool], run: subprocess.Popen[str]) -> None:
        """Wait for an event since the last `start`, of a run which must still be going."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            assert run.poll() is None, self.said[-3000:]
            if any(what(event) for event in self.news()):
                return
            time.sleep(0.02)
        pytest.fail(f"what was waited for did not come:\n{self.said[-3000:]}")

    def under_way(self, board: str, run: subprocess.Popen[str]) -> None:
        """Wait until features of a board are coming."""
        self.until(
            lambda e: (
                e.event == "step_progress" and e.board == board and e.step.startswith("extract")
            ),
            run,
        )

    def happens(
        self,
        run: subprocess.Popen[str],
        plan: dict[str, tuple[Callable[[Event], bool], Callable[[], object]]],
    ) -> None:
        """Do each thing once, at the first event that is its cue; all cues must come."""
        end = time.monotonic() + PATIENCE_S
        left = dict(plan)
        while left:
            ended = run.poll() is not None
            for event in self.news():
                for name in [name for name, (cue, _) in left.items() if cue(event)]:
                    left.pop(name)[1]()
            assert not left or (not ended and time.monotonic() < end), (left, self.said[-3000:])
            time.sleep(0.02)

    def features(self) -> dict[str, bytes]:
        """Features of each encoder and role of the newest run, by row and role."""
        found = {}
        for name, cell in self.cells().items():
            keys = cell["provenance"]["keys"]
            for role in ("gallery", "probe"):
                found[name, role] = (self.held("extract", keys[role]) / "features.npy").read_bytes()
        return {"/".join(name): data for name, data in found.items()}

    def forget_features(self) -> None:
        """Empty the store of what boards extracted and what was made of it."""
        for stage in ("extract", "score", "compare"):
            shutil.rmtree(self.folder / ".farm" / "store" / stage, ignore_errors=True)
        shutil.rmtree(self.folder / "runs", ignore_errors=True)


def copied(original: Faulty, folder: Path) -> Faulty:
    """Another project with the same images, artifacts and times, but without features."""
    shutil.copytree(original.folder, folder, symlinks=True, dirs_exist_ok=True)
    made = Faulty(folder)
    made.forget_features()
    (folder / "said.txt").unlink(missing_ok=True)
    return made


def processes(*words: str) -> list[int]:
    """Living processes whose command line holds all the words."""
    found = []
    for place in Path("/proc").iterdir():
        if not place.name.isdigit() or int(place.name) == os.getpid():
            continue
        try:
            line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (place / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX" and all(word in line for word in words):
            found.append(int(place.name))
    return found


def children(pid: int) -> list[int]:
    """Living direct children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text().split())
    return found


def comm(pid: int) -> str:
    """A process's short name, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def strike(pids: list[int], number: signal.Signals = signal.SIGKILL) -> list[int]:
    """Send a signal to processes that must be there."""
    assert pids
    for pid in pids:
        os.kill(pid, number)
    return pids


def agents(folder: Path, board: str) -> list[int]:
    """The agents that serve a board from below a folder (not their runtime children)."""
    found = processes(f"{folder}/", " serve ", f"--board {board} ")
    copies = {child for agent in found for child in children(agent)}  # with the same command line
    return [agent for agent in found if agent not in copies]


def agent_of(project: Faulty, board: str) -> list[int]:
    """The agents that serve an emulated board of a project."""
    return agents(project.folder, board)


def driver_of(project: Faulty) -> list[int]:
    """The driver of a project's newest run and the process that watches it."""
    return processes("orchestrator.driving.process", project.latest.resolve().name)


def ssh_board(name: str, kind: str, sshd: SshdAddress, port: int, key: Path, work: Path) -> str:
    """An entry for a board behind a relay."""
    return (
        f"  - name: {name}\n    kind: {kind}\n    transport:\n      ssh:\n"
        f"        host: {sshd.host}\n        port: {port}\n        user: {sshd.user}\n"
        f"        key: {key}\n        host_key: {sshd.host_key!r}\n"
        "    runtime: {name: onnxruntime, faithful: true}\n    lock: workdir\n"
        f"    python: {sys.executable}\n    workdir: {work / name}\n"
    )


def extracts(board: str) -> Callable[[Event], bool]:
    """The cue: features of a board are coming, and not all are there."""
    return lambda e: (
        e.event == "step_progress"
        and e.board == board
        and e.step.startswith("extract")
        and e.done < e.total
    )


def retried(project: Faulty, board: str) -> list[Any]:
    """Events of attempts that failed on a board and were repeated."""
    return [e for e in project.events() if e.event == "step_failed" and e.board == board]


def calm(folder: Path) -> Faulty:
    """A project whose run nothing disturbed."""
    made = Faulty(folder)
    made.write(
        FLOAT + entry("jetson", INT8) + entry("vim3", UINT8) + entry("rv", UINT8),
        HOST + "".join(emulated(name, kind) for name, kind in EMULATED.items()),
        IDENTITIES,
        UNKNOWN,
    )
    done = made.farm("run")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def same_as(plain: dict[str, bytes], project: Faulty, boards: Iterable[str]) -> None:
    """Each of the boards made, byte for byte, the features of the undisturbed run."""
    got = project.features()
    for name in boards:
        for role, data in plain.items():
            assert got[f"{name}/{role}"] == data, (name, role)


def title(pid: int) -> str:
    """A process's command line, empty when it is gone."""
    try:
        data = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return data.replace(b"\0", b" ").decode(errors="replace")


def below(pids: Iterable[int]) -> list[int]:
    """Living descendants of processes."""
    found: list[int] = []
    for pid in pids:
        with contextlib.suppress(OSError):
            for child in children(pid):
                found += [child, *below([child])]
    return found
