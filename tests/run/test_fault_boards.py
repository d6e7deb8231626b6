"""Rows of the fault table that strike a board: rebooted at work, and a runtime that hangs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.fleet.emulated.boards import ensure_key
from tests.faulty_proxy import Relay
from tests.openssh import SSHD, SshdAddress, running_sshd
from tests.run.faulty import (
    EMULATED,
    IDENTITIES,
    PLAIN,
    UNKNOWN,
    Faulty,
    agent_of,
    below,
    children,
    extracts,
    retried,
    same_as,
    ssh_board,
    strike,
)
from tests.run.project import HOST, emulated, entry

pytestmark = [pytest.mark.slow, pytest.mark.soak]

KINDS = {"deploy": "khadas-vim3", "measure": "imx8mp", "extract": "rv1126"}
AWAY_S = 3.0


@dataclass
class Board:
    """A board behind an SSH server of its own and a link that can be slow."""

    folder: Path
    sshd: SshdAddress
    link: Relay
    leader: int = 0
    rebooted: list[threading.Thread] = field(default_factory=list)

    def reboot(self) -> None:
        """Server, sessions and agent go at once; the server comes back, the files do not."""
        strike([self.leader, *below([self.leader])])
        self.link.cut()
        self.link.weather.bytes_per_s = None
        back = threading.Timer(AWAY_S, self._boot)
        back.start()
        self.rebooted.append(back)

    def _boot(self) -> None:
        shutil.rmtree(self.folder / "work", ignore_errors=True)
        server = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(self.folder / "sshd" / "sshd_config")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.leader = server.pid

    def switch_off(self) -> None:
        """At the test's end."""
        for thread in self.rebooted:
            thread.join()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader, signal.SIGKILL)


@pytest.fixture
def boards(tmp_path: Path) -> Iterator[tuple[dict[str, Board], Path]]:
    """A board for each stage, and the key that they let in."""
    key = tmp_path / "key"
    public = ensure_key(key)
    with ExitStack() as stack:
        made = {}
        for name in KINDS:
            folder = tmp_path / name
            folder.mkdir()
            sshd = stack.enter_context(running_sshd(folder, public))
            link = stack.enter_context(Relay((sshd.host, sshd.port)))
            made[name] = Board(folder, sshd, link, sshd.process.pid)
            stack.callback(made[name].switch_off)
        yield made, key


@pytest.mark.needs("sshd")
def test_boards_reboot_in_deploy_in_measure_and_in_extract(
    plain: dict[str, bytes], project: Faulty, boards: tuple[dict[str, Board], Path]
) -> None:
    made, key = boards
    # So slow that the artifact is still on its way when its step is seen to have begun.
    made["deploy"].link.weather.bytes_per_s = 400_000
    project.write(
        "".join(entry(name, PLAIN) for name in KINDS),
        "".join(
            ssh_board(name, kind, b.sshd, b.link.port, key, b.folder / "work")
            for (name, kind), b in zip(KINDS.items(), made.values(), strict=True)
        ),
        IDENTITIES,
        UNKNOWN,
    )
    run = project.start("run")
    project.happens(
        run,
        {
            "deploy": (
                lambda e: e.event == "step_progress" and e.step == "deploy/deploy" and e.done > 0,
                made["deploy"].reboot,
            ),
            "measure": (
                lambda e: e.event == "step_progress" and e.step == "measure/measure",
                made["measure"].reboot,
            ),
            "extract": (extracts("extract"), made["extract"].reboot),
        },
    )
    assert project.ends(run) == 0, project.said[-3000:]
    for name in KINDS:
        lost = retried(project, name)
        assert {e.stage for e in lost} == {name}
        assert {(e.retry, e.error) for e in lost} == {(True, "transient")}
        # What was on the board is gone, so it is brought again.
        brought = [
            e for e in project.events() if e.event == "step_finished" and e.step == f"deploy/{name}"
        ]
        assert [e for e in brought if "verified" in e.summary], name
        assert len(brought) == (1 if name == "deploy" else 2)
    same_as(plain, project, KINDS)


def test_a_runtime_that_hangs_is_killed_and_its_board_rebooted(
    undisturbed: Faulty, project: Faulty
) -> None:
    project.deadlines |= {"chunk_s": 5, "open_s": 60}
    extra = {"vim3": ", recovery: {reboot: reboot}"}
    inventory = HOST + "".join(emulated(n, k, extra.get(n, "")) for n, k in EMULATED.items())
    (project.folder / "device_inventory.yaml").write_text("boards:\n" + inventory)
    run = project.start("run")
    project.under_way("vim3", run)
    (agent,) = agent_of(project, "vim3")
    strike(children(agent), signal.SIGSTOP)
    began = time.monotonic()
    project.until(
        lambda e: e.event == "board_changed" and e.board == "vim3" and e.state == "recovering", run
    )
    assert time.monotonic() - began < 60
    assert project.ends(run) == 0, project.said[-3000:]
    (hung,) = retried(project, "vim3")
    assert (hung.retry, hung.error) == (True, "board")
    assert "has not answered" in hung.message
    assert "(chunk_s: 5 s)" in hung.message
    assert """FARM_DEADLINES='{"chunk_s": 10}'""" in hung.hint
    assert project.features() == undisturbed.features()
