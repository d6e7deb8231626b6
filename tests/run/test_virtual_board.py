"""A board that truly loses its power, is reset, panics, loses its network, has no clock or room.

Nothing else is lost. An aarch64 virtual machine boots Debian's kernel; `recovery: {power: …}` is
its switch. Soak only: building it fetches 100 MB, and QEMU executes in software.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.events import Event, EventReader
from orchestrator.fleet.transport.known_keys import HostKey
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
        on_board(folder, FREE)  # of a board that is used again, by its name
        _first_import(folder)
        yield folder
    finally:
        virtual_board.switch_off(folder)


@pytest.fixture(autouse=True)
def on(place: Path) -> None:
    """Switched on by the tests: what a run's power command has started ends with that run."""
    if (place / "switched").exists():
        (place / "switched").unlink()
        virtual_board.switch_off(place)
        virtual_board.switch_on(place)
        _boots(place)


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
    on_board(folder, "python3 -c 'import onnxruntime' && sync")


def on_board(folder: Path, command: str) -> str:
    """What a command there prints, over a connection of its own."""
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
        done = transport.run(command, timeout_s=300)
        assert done.status == 0, done.stderr
        return done.stdout.decode()
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


@pytest.fixture(scope="module")
def calm(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run that nothing disturbed."""
    project = project_in(tmp_path_factory.mktemp("calm") / "project", place)
    ended = project.farm("run")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    row = project.cells()["virt"]
    # QEMU's software, whatever the inventory calls it: no Time, and no board's keys.
    assert (row["executed_by"], row["latency"]) == ("emulated", None)
    assert row["backend"] == "onnxruntime (emulated)"
    assert "whose processor is software (TCG)" in row["verdict_reason"]
    return project


def test_nothing_is_lost_with_the_power(
    place: Path, calm: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = project_in(tmp_path / "cut", place)
    lines = disturbed(cut, place, [Cue(step, delay, "power cut", power) for step, delay in CUTS])
    assert (place / "switched").read_text().split() == len(CUTS) * ["off", "on"]
    assert climbed(cut) == len(CUTS) * ["power"]
    assert features(cut) == features(calm)
    show(capsys, lines)


def test_nothing_is_lost_by_other_faults(
    place: Path, calm: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reset, a kernel panic, a network that goes, a clock that leaps from 1970, a full disk."""
    assert on_board(place, "date +%Y").strip() == "1970"
    faults = [
        Cue("deploy/virt", 0.0, "reset", lambda at: virtual_board.monitor(at, "system_reset")),
        Cue("measure/virt", 2.0, "kernel panic", panic),
        Cue("extract/virt/probe", 2.0, "network cut for 30 s", cut_the_network),
        Cue("extract/virt/gallery", 0.0, "disk full", lambda at: on_board(at, FILL)),
        Cue("extract/virt/gallery", 2.0, "clock from 1970 to now", set_the_clock),
    ]
    project = project_in(tmp_path / "faults", place)
    try:
        lines = disturbed(project, place, faults)
    finally:
        on_board(place, FREE)
    assert features(project) == features(calm)
    # Nothing but a panic needs the switch: a reset board and a network come back by themselves.
    assert climbed(project).count("power") >= 1
    assert on_board(place, "date +%Y").strip() != "1970"
    show(capsys, lines)


def test_a_full_disk_stops_the_row_with_its_reason(
    place: Path, calm: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Deploying needs room: said with what to do, no half file left, and resumed when there is."""
    project = project_in(tmp_path / "full", place)
    try:
        on_board(place, "rm -rf /root/.farm; dd if=/dev/zero of=/root/room bs=1k count=300")
        on_board(place, f"{FILL}; rm /root/room")
        ended = project.farm("run")
        said = ended.stdout + ended.stderr
        assert ended.returncode == 1, said
        assert "no room in /root/.farm: " in said
        assert "remove what is no longer needed there" in said
        assert ".part" not in on_board(place, "find /root/.farm")
    finally:
        on_board(place, FREE)
    # A board without room is left alone until somebody has looked at it.
    assert "farm boards check virt" in project.farm("resume").stdout
    assert project.farm("boards", "check", "virt").returncode == 0
    again = project.farm("resume")
    assert again.returncode == 0, again.stdout + again.stderr
    assert features(project) == features(calm)
    lines = [line for line in said.splitlines() if "virt unfit" in line]
    show(capsys, lines)


def test_it_is_added_and_checked_as_any_board(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another processor, dropbear without SFTP, a clock in 1970: its runtime is proved there."""
    about = virtual_board.build(place)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FARM_DEADLINES", json.dumps(DEADLINES))
    target = f"root@127.0.0.1:{(place / 'port').read_text()}"
    fingerprint = HostKey.parse(about["host_key"]).fingerprint
    words = ["add", target, "--key", about["key"], "--host-key", fingerprint, "--yes"]
    assert main(["boards", *words, "--name", "virt", "--kind", "host-cpu"]) == 0
    out = capsys.readouterr().out
    assert "aarch64" in out
    assert "onnxruntime: passed" in out
    assert "emulator: its device tree says linux,dummy-virt" in out


# What root alone may use is left by `fallocate` of what `df` tells.
FILL = (
    "B=/bin/busybox; free() { $B df -k / | $B tail -1 | $B awk '{print $4}'; }; "
    "$B fallocate -l $(($(free) * 1024)) /root/filler; "
    "dd if=/dev/zero of=/root/filler2 bs=64k 2>/dev/null; free"
)
FREE = "rm -f /root/filler /root/filler2"


@dataclass(frozen=True)
class Cue:
    """A fault and when it comes: so many seconds after a step has begun."""

    step: str
    delay: float
    name: str
    cause: Callable[[Path], object]


def power(place: Path) -> None:
    virtual_board.switch_off(place)


def panic(place: Path) -> None:
    on_board(place, "echo 1 >/proc/sys/kernel/sysrq; (sleep 0.2; echo c >/proc/sysrq-trigger) &")


def cut_the_network(place: Path) -> None:
    pid = (place / "pid").read_text()
    virtual_board.monitor(place, "set_link", name="n", up=False)
    time.sleep(30)
    if (place / "pid").exists() and (place / "pid").read_text() == pid:  # not switched meanwhile
        virtual_board.monitor(place, "set_link", name="n", up=True)


def set_the_clock(place: Path) -> None:
    on_board(place, f"date -s @{int(time.time())}")


def climbed(project: Project) -> list[str]:
    """The rungs of the ladder that were taken, in order."""
    entries = FleetLog(project.folder / "runs").entries()
    return [entry.how for entry in entries if isinstance(entry, Recovering)]


def show(capsys: pytest.CaptureFixture[str], lines: list[str]) -> None:
    with capsys.disabled():
        print("\n" + "\n".join(lines))
        print("features of gallery and probe: equal to the byte")


def disturbed(project: Project, place: Path, cues: list[Cue]) -> list[str]:
    """Run to a good end, with a fault at each cue; a line for each."""
    run = project.begin()
    try:
        lines = _disturb(project, run, place, list(cues))
        said = project.folder / "said.txt"
        assert run.wait(2 * ENDS_S) == 0, said.read_text()[-4000:]
    finally:
        run.kill()
    assert {cue.name for cue in cues} == {line.split(":")[0] for line in lines}
    return lines


def _disturb(
    project: Project, run: subprocess.Popen[str], place: Path, cues: list[Cue]
) -> list[str]:
    end = time.monotonic() + 900
    said = project.folder / "said.txt"
    while not (project.latest / "events.jsonl").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    reader = EventReader(project.latest.resolve() / "events.jsonl")
    lines: list[str] = []
    happened: list[tuple[str, float]] = []  # what the run said since the last fault, and when
    while run.poll() is None:
        assert time.monotonic() < end, said.read_text()[-3000:]
        for event in reader.new():
            lines += _answer(event, happened)
            step = event.step if event.event == "step_started" else ""
            while cues and cues[0].step == step:
                cue = cues.pop(0)
                time.sleep(cue.delay)
                lines += [f"{text}, the run went on" for text, _ in happened]
                happened[:] = [(f"{cue.name}: in {cue.step}", time.monotonic())]
                cue.cause(place)
        time.sleep(0.02)
    assert not cues, said.read_text()[-3000:]
    return lines + [f"{text}, the run went on" for text, _ in happened]


def _answer(event: Event, happened: list[tuple[str, float]]) -> list[str]:
    """What the run did about the last fault: a line when the board works again."""
    if not happened or event.event != "board_changed":
        return []
    text, at = happened[0]
    after = time.monotonic() - at
    if event.state == "connecting":
        happened[0] = (text if "lost" in text else f"{text}, lost after {after:.0f} s", at)
    elif event.state == "recovering":
        happened[0] = (f"{text}, after {after:.0f} s {event.reason.partition(',')[0]}", at)
    elif event.state == "ready" and "lost" in text:  # else it has only ended a step
        happened.clear()
        return [f"{text}, connected again after {after:.0f} s"]
    return []
