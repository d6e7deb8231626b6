"""The fault table: what breaks in a run, over real SSH, and that nothing of the result changes.

Every disturbed run must end with the right exit code and, where it ends complete (at once or by
`farm resume`), with features byte-equal to those of a run in which nothing happened.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.events import Event, EventReader
from orchestrator.fleet.emulated import ensure_key
from orchestrator.fleet.relay import Relay
from tests.openssh import SshdAddress, running_sshd
from tests.run.project import FLOAT, HOST, Project, emulated, entry

pytestmark = [pytest.mark.slow, pytest.mark.soak]

UINT8 = "uint8 per-tensor asymmetric"
INT8 = "int8 per-channel symmetric"
IDENTITIES, UNKNOWN = 300, 40
DEADLINES = {"silence_s": 4, "connect_s": 5, "command_s": 20, "queue_s": 90, "lost_s": 60}
EMULATED = {"jetson": "jetson-xavier-nx", "vim3": "khadas-vim3", "rv": "rv1126"}
SEED = 7


@dataclass
class Faulty(Project):
    """A project whose runs are disturbed while they go on."""

    deadlines: dict[str, float] = field(default_factory=lambda: dict(DEADLINES))

    @property
    def environment(self) -> dict[str, str]:
        """With short deadlines."""
        return super().environment | {"FARM_DEADLINES": json.dumps(self.deadlines)}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`farm` in the background; its output goes to a file."""
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

    def ends(self, run: subprocess.Popen[str], timeout: float = 120) -> int:
        """Wait for a run, and end it for good when it hangs."""
        try:
            return run.wait(timeout)
        except subprocess.TimeoutExpired:
            run.kill()
            pytest.fail(f"the run did not end within {timeout} s:\n{self.said[-3000:]}")

    def until(self, what: Callable[[Event], bool], run: subprocess.Popen[str]) -> None:
        """Wait for an event of the newest run, which must still be going."""
        end = time.monotonic() + 60
        reader: EventReader | None = None
        while time.monotonic() < end:
            assert run.poll() is None, self.said[-3000:]
            if reader is None and (self.latest / "events.jsonl").exists():
                reader = EventReader(self.latest.resolve() / "events.jsonl")
            if reader is not None and any(what(event) for event in reader.new()):
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
        end = time.monotonic() + 90
        while not (self.latest / "events.jsonl").exists():
            assert time.monotonic() < end, self.said[-3000:]
            assert run.poll() is None, self.said[-3000:]
            time.sleep(0.02)
        reader = EventReader(self.latest.resolve() / "events.jsonl")
        left = dict(plan)
        while left:
            ended = run.poll() is not None
            for event in reader.new():
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


def agent_of(project: Faulty, board: str) -> list[int]:
    """The agents that serve an emulated board (not their runtime children)."""
    return processes(f"{project.folder}/", " serve ", f"--board {board} ")


def driver_of(project: Faulty) -> list[int]:
    """The driver of a project's newest run and the process that watches it."""
    return processes("orchestrator.scheduling.driver", project.latest.resolve().name)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    made = Faulty(tmp_path_factory.mktemp("calm"))
    made.write(
        FLOAT + entry("jetson", INT8) + entry("vim3", UINT8) + entry("rv", UINT8),
        HOST + "".join(emulated(name, kind) for name, kind in EMULATED.items()),
        IDENTITIES,
        UNKNOWN,
    )
    done = made.farm("run")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture
def project(undisturbed: Faulty, tmp_path: Path) -> Faulty:
    return copied(undisturbed, tmp_path / "p")


def retried(project: Faulty, board: str) -> list[Any]:
    """Events of attempts that failed on a board and were repeated."""
    return [e for e in project.events() if e.event == "step_failed" and e.board == board]


def test_agent_killed_runtime_killed_and_the_whole_board_killed(
    undisturbed: Faulty, project: Faulty
) -> None:
    run = project.start("run")
    for board in EMULATED:
        project.under_way(board, run)
        if board == "jetson":
            strike(agent_of(project, board))
        elif board == "vim3":
            (agent,) = agent_of(project, board)
            strike(children(agent))
        else:
            strike(processes("emulated_server", f"{project.folder}/.farm/emulated/rv/home"))
    assert project.ends(run) == 0, project.said[-3000:]
    for board in EMULATED:
        assert [e.retry for e in retried(project, board)] == [True], (board, project.said[-3000:])
    assert project.features() == undisturbed.features()


def test_an_agent_that_stands_still_is_replaced_once_its_lease_has_ended(
    undisturbed: Faulty, project: Faulty
) -> None:
    run = project.start("run")
    project.under_way("vim3", run)
    stopped = strike(agent_of(project, "vim3"), signal.SIGSTOP)
    assert project.ends(run) == 0, project.said[-3000:]
    assert any("silent" in e.message for e in retried(project, "vim3"))
    assert not [pid for pid in stopped if comm(pid)]
    assert project.features() == undisturbed.features()


@pytest.fixture
def two_sshds(tmp_path: Path) -> Iterator[tuple[SshdAddress, SshdAddress, Path]]:
    """Two servers that let the same key in and show different host keys."""
    key = tmp_path / "key"
    public = ensure_key(key)
    with ExitStack() as stack:
        one, other = tmp_path / "one", tmp_path / "other"
        for folder in (one, other):
            folder.mkdir()
        yield (
            stack.enter_context(running_sshd(one, public)),
            stack.enter_context(running_sshd(other, public)),
            key,
        )


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


def damage(folder: Path, link: Relay) -> None:
    """Flip a bit of the run's only file in a board's folder; then its link is quick again."""
    (artifact,) = (path for path in folder.iterdir() if not path.name.startswith("proof-"))
    data = bytearray(artifact.read_bytes())
    data[len(data) // 2] ^= 1
    artifact.chmod(0o600)
    artifact.write_bytes(data)
    link.weather.delay_s = 0.0


@pytest.mark.needs("sshd")
def test_links_cut_for_a_while_and_for_good_a_changed_host_key_and_a_damaged_artifact(
    undisturbed: Faulty,
    project: Faulty,
    two_sshds: tuple[SshdAddress, SshdAddress, Path],
    tmp_path: Path,
) -> None:
    sshd, stranger, key = two_sshds
    project.deadlines["lost_s"] = 20
    kinds = {
        "awhile": "khadas-vim3",
        "forgood": "imx8mp",
        "rekeyed": "rv1126",
        "damaged": "jetson-xavier-nx",
    }
    work = tmp_path / "boards"
    work.mkdir()
    with ExitStack() as stack:
        relays = {n: stack.enter_context(Relay((sshd.host, sshd.port))) for n in kinds}
        project.write(
            "".join(entry(name, UINT8, ", toolchain: onnxruntime") for name in kinds),
            "".join(
                ssh_board(name, kind, sshd, relays[name].port, key, work)
                for name, kind in kinds.items()
            ),
            IDENTITIES,
            UNKNOWN,
        )
        artifacts = work / "damaged" / "artifacts"

        def rekey() -> None:
            relays["rekeyed"]._target = (stranger.host, stranger.port)
            relays["rekeyed"].cut()

        def stall() -> None:
            relays["awhile"].weather.stalled = True
            over = threading.Timer(9, setattr, (relays["awhile"].weather, "stalled", False))
            over.start()
            stack.callback(over.join)

        run = project.start("run")
        project.happens(
            run,
            {
                # So slow a link that the file can be damaged between its arrival and its use.
                "slow": (
                    lambda e: e.event == "step_started" and e.step == "deploy/damaged",
                    lambda: setattr(relays["damaged"].weather, "delay_s", 0.3),
                ),
                "damage": (
                    lambda e: e.event == "step_finished" and e.step == "deploy/damaged",
                    lambda: damage(artifacts, relays["damaged"]),
                ),
                "stall": (extracts("awhile"), stall),
                "cut": (extracts("forgood"), relays["forgood"].close),
                "rekey": (extracts("rekeyed"), rekey),
            },
        )
        assert project.ends(run) == 1, project.said[-3000:]
        assert set(project.cells()) == {"awhile", "damaged"}
        missing = project.results()["missing"]
        assert "given up after" in missing["forgood"]
        assert "host key" in missing["rekeyed"]
        assert any("sha256" in e.message for e in retried(project, "damaged"))
        assert any("silent" in e.message for e in retried(project, "awhile"))
        # The cable is in again, and the board is the one it was.
        relays["rekeyed"]._target = (sshd.host, sshd.port)
        again = stack.enter_context(Relay((sshd.host, sshd.port)))
        project.deadlines["lost_s"] = 60
        inventory = "".join(
            ssh_board(
                name, kind, sshd, again.port if name == "forgood" else relays[name].port, key, work
            )
            for name, kind in kinds.items()
        )
        (project.folder / "device_inventory.yaml").write_text("boards:\n" + inventory)
        done = project.farm("resume")
        assert done.returncode == 0, done.stdout + done.stderr
    calm = undisturbed.features()
    got = project.features()
    for name in kinds:
        for role in ("gallery", "probe"):
            assert got[f"{name}/{role}"] == calm[f"vim3/{role}"], name


def test_rays_head_killed_ends_the_run_soon_and_resume_goes_on(
    undisturbed: Faulty, project: Faulty
) -> None:
    for command, name in (("run", "gcs_server"), ("resume", "raylet")):
        before = project.latest.resolve()
        run = project.start(command)
        while project.latest.resolve() == before and run.poll() is None:
            time.sleep(0.02)
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


def test_the_orchestrator_killed_at_any_moment_loses_nothing_that_was_finished(
    undisturbed: Faulty, project: Faulty
) -> None:
    chance = random.Random(SEED)
    kept: set[str] = set()
    for round_ in range(3):
        run = project.start("run" if round_ == 0 else "resume")
        end = time.monotonic() + chance.uniform(2, 9)
        while run.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        for pid in [run.pid, *driver_of(project)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run.wait(10)
        kept |= {e.step for e in project.events() if e.event == "step_finished" and not e.cached}
        gone = time.monotonic() + 15
        while agents := processes(f"{project.folder}/", " serve "):
            assert time.monotonic() < gone, agents
            time.sleep(0.1)
    done = project.farm("resume")
    assert done.returncode == 0, done.stdout + done.stderr
    again = {e.step for e in project.events() if e.event == "step_finished" and not e.cached}
    assert not {step for step in kept & again if not step.startswith("deploy")}
    assert project.features() == undisturbed.features()


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
        timeout=180,
    )
    assert "first 1" in done.stdout, done.stdout + done.stderr
    assert "no room left" in done.stdout
    assert "second 0" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    store.rmdir()
    (project.folder / "kept").rename(store)
    assert project.features() == undisturbed.features()
