"""The fault table: what breaks in a run, over real SSH, and that nothing of the result changes.

Every disturbed run must end with the right exit code and, where it ends complete (at once or by
`farm resume`), with features byte-equal to those of a run in which nothing happened.
"""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.fleet.emulated.boards import ensure_key
from tests.faulty_proxy import Relay
from tests.openssh import SshdAddress, running_sshd
from tests.run.faulty import (
    EMULATED,
    IDENTITIES,
    PLAIN,
    UNKNOWN,
    Faulty,
    agent_of,
    agents,
    children,
    comm,
    copied,
    extracts,
    processes,
    retried,
    same_as,
    ssh_board,
    strike,
)
from tests.run.project import entry

pytestmark = pytest.mark.slow


def test_agent_killed_runtime_killed_and_the_whole_board_killed(
    undisturbed: Faulty, project: Faulty
) -> None:
    server = f"{project.folder}/.farm/emulated/rv/home"
    run = project.start("run")
    project.happens(
        run,
        {
            "agent": (extracts("jetson"), lambda: strike(agent_of(project, "jetson"))),
            "runtime": (
                extracts("vim3"),
                lambda: strike([pid for a in agent_of(project, "vim3") for pid in children(a)]),
            ),
            "board": (extracts("rv"), lambda: strike(processes("emulated.server", server))),
        },
    )
    assert project.ends(run) == 0, project.said[-3000:]
    for board in EMULATED:
        assert [e.retry for e in retried(project, board)] == [True], (board, project.said[-3000:])
    assert project.features() == undisturbed.features()


@pytest.mark.soak
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


def hang_up(work: Path, board: str) -> None:
    """Kill the server's process of a board's session, as a server out of memory would."""
    (session,) = agents(work, board)
    while comm(session) != "sshd":
        session = int(Path(f"/proc/{session}/stat").read_text().rpartition(")")[2].split()[1])
    strike([session])


def damage(folder: Path, link: Relay) -> None:
    """Flip a bit of the run's only file in a board's folder; then its link is quick again."""
    (artifact,) = (path for path in folder.iterdir() if not path.name.startswith("proof-"))
    data = bytearray(artifact.read_bytes())
    data[len(data) // 2] ^= 1
    artifact.chmod(0o600)
    artifact.write_bytes(data)
    link.weather.delay_s = 0.0


@pytest.mark.soak
@pytest.mark.needs("sshd")
def test_links_cut_a_session_killed_another_host_key_and_a_damaged_artifact(
    plain: dict[str, bytes],
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
        "hungup": "rk3568",
    }
    work = tmp_path / "boards"
    work.mkdir()
    with ExitStack() as stack:
        relays = {n: stack.enter_context(Relay((sshd.host, sshd.port))) for n in kinds}
        project.write(
            "".join(entry(name, PLAIN) for name in kinds),
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
                "hang up": (extracts("hungup"), lambda: hang_up(work, "hungup")),
            },
        )
        assert project.ends(run) == 1, project.said[-3000:]
        assert set(project.cells()) == {"awhile", "damaged", "hungup"}
        missing = project.results()["missing"]
        assert "given up after" in missing["forgood"]
        assert "host key" in missing["rekeyed"]
        assert any("sha256" in e.message for e in retried(project, "damaged"))
        assert any("silent" in e.message for e in retried(project, "awhile"))
        assert [e.retry for e in retried(project, "hungup")] == [True]
        # The cable is in again, and the board is the one it was: that somebody has to confirm.
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
        assert done.returncode == 1, done.stdout + done.stderr
        assert set(project.cells()) == {"awhile", "damaged", "hungup", "forgood"}
        assert "`farm boards check rekeyed`" in project.results()["missing"]["rekeyed"]
        checked = project.farm("boards", "check", "rekeyed")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        done = project.farm("resume")
        assert done.returncode == 0, done.stdout + done.stderr
    same_as(plain, project, kinds)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that lets the wall clock of what is started with it jump."""
    made = tmp_path_factory.mktemp("clock") / "shim.so"
    source = Path(__file__).with_name("clock_shim.c")
    words = ["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(made), str(source)]
    subprocess.run([*words, "-ldl", "-lpthread"], check=True)
    return made


@dataclass
class Clock:
    """The wall clock of processes that are started with `variables`."""

    shim: Path
    file: Path

    def __post_init__(self) -> None:
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """From now on it is so far from the machine's own."""
        self.file.touch()
        with open(self.file, "r+b") as file:
            file.write(struct.pack("q", seconds))

    @property
    def variables(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.shim), "CLOCK_SHIM": str(self.file)}


@pytest.mark.soak
@pytest.mark.needs("sshd", "gcc")
def test_clocks_that_jump_by_an_hour_change_nothing(
    undisturbed: Faulty,
    plain: dict[str, bytes],
    project: Faulty,
    two_sshds: tuple[SshdAddress, SshdAddress, Path],
    shim: Path,
    tmp_path: Path,
) -> None:
    sshd, _, key = two_sshds
    heads, boards = Clock(shim, tmp_path / "head"), Clock(shim, tmp_path / "board")
    project.variables = heads.variables
    work = tmp_path / "boards"
    work.mkdir()
    python = tmp_path / "python3"
    exports = "".join(f"export {name}={value}\n" for name, value in boards.variables.items())
    python.write_text(f'#!/bin/sh\n{exports}exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    own = ssh_board("own", "imx8mp", sshd, sshd.port, key, work)
    matrix, inventory = project.folder / "matrix.yaml", project.folder / "device_inventory.yaml"
    matrix.write_text(matrix.read_text() + entry("own", PLAIN))
    inventory.write_text(
        inventory.read_text() + own.replace(f"python: {sys.executable}", f"python: {python}")
    )
    run = project.start("run")
    project.happens(
        run,
        {
            "the head's, forward": (extracts("vim3"), lambda: heads.jump(3600)),
            "the board's, back": (extracts("own"), lambda: boards.jump(-3600)),
            "the head's, back": (
                lambda e: e.event == "step_finished" and e.step.startswith("extract/vim3"),
                lambda: heads.jump(-3600),
            ),
        },
    )
    assert project.ends(run) == 0, project.said[-3000:]
    times = [event.at for event in project.events()]
    assert max(times) - min(times) > 7000  # the clock did jump
    assert [e for e in project.events() if e.event == "step_failed"] == []
    assert not [e for e in project.events() if e.event == "step_finished" and e.seconds > 300]
    got = project.features()
    assert {n: data for n, data in got.items() if not n.startswith("own/")} == (
        undisturbed.features()
    )
    same_as(plain, project, ["own"])


@pytest.mark.soak
@pytest.mark.needs("sshd")
def test_strangers_who_share_boards_wait_for_each_other_and_no_deadline_counts_that(
    plain: dict[str, bytes],
    undisturbed: Faulty,
    two_sshds: tuple[SshdAddress, SshdAddress, Path],
    tmp_path: Path,
) -> None:
    """Two projects with stores of their own know nothing of each other but the boards' locks."""
    kinds = {"one": "imx8mp", "two": "rv1126"}
    *servers, key = two_sshds
    runs = []
    for who in ("ann", "ben"):
        project = copied(undisturbed, tmp_path / who)
        # Only the queue may take as long as the other's work.
        project.deadlines |= {"lost_s": 2, "command_s": 10, "chunk_s": 10, "queue_s": 200}
        work = tmp_path / f"of-{who}"
        boards = [
            ssh_board(name, kind, sshd, sshd.port, key, work)
            for (name, kind), sshd in zip(kinds.items(), servers, strict=True)
        ]
        inventory = "".join(boards).replace("lock: workdir", "lock: board")
        project.write("".join(entry(name, PLAIN) for name in kinds), inventory, IDENTITIES, UNKNOWN)
        runs.append((project, project.start("run")))
    for project, run in runs:
        assert project.ends(run) == 0, project.said[-3000:]
    waited = {
        event.reason
        for project, _ in runs
        for event in project.events()
        if event.event == "board_changed" and "in use by" in event.reason
    }
    assert waited
    for project, _ in runs:
        assert [e for e in project.events() if e.event == "step_failed"] == []
        same_as(plain, project, kinds)
