"""A board on this computer behind real SSH, for benchmarks of the agent and its session."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.fleet.boards.agent_bundle import agent_bundle, agent_command
from orchestrator.fleet.emulated.boards import EmulatedFleet, ensure_key
from orchestrator.fleet.session.client import AgentSession, Preprocessing
from orchestrator.fleet.transport.ssh import SshTransport
from tests.faulty_proxy import Relay, Weather
from tests.openssh import SSHD, running_sshd

SIZE = 112
IMAGE_BYTES = SIZE * SIZE * 3


@dataclass(frozen=True)
class Server:
    """An SSH server and what it is; `folder` is on both sides."""

    what: str
    host: str
    port: int
    user: str
    key: Path
    host_key: str
    folder: Path


@contextmanager
def server() -> Iterator[Server]:
    """OpenSSH's sshd where it is installed, else farm's emulated board."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if SSHD:
            key = folder / "key"
            made = stack.enter_context(running_sshd(folder, ensure_key(key)))
            yield Server(
                "OpenSSH's sshd", made.host, made.port, made.user, key, made.host_key, folder
            )
        else:
            board = stack.enter_context(EmulatedFleet(folder)).start("bench")
            home = folder / "bench" / "home"
            yield Server(
                "an emulated board (no sshd here)",
                board.host,
                board.port,
                board.user,
                board.key_file,
                board.host_key,
                home,
            )


@contextmanager
def session(
    where: Server, weather: Weather | None = None, before: str = "", **timed: float
) -> Iterator[AgentSession]:
    """A fresh agent with the timed runtime open, behind a relay where there is `weather`."""
    with ExitStack() as stack:
        port = where.port
        if weather is not None:
            port = stack.enter_context(Relay((where.host, port), weather)).port
        transport = SshTransport(
            "bench",
            where.host,
            port=port,
            user=where.user,
            key_file=where.key,
            host_key=where.host_key,
            use_agent=False,
        )
        transport.connect(30)
        stack.callback(transport.close)
        program, artifact = where.folder / "agent.pyz", where.folder / "timed.bin"
        program.write_bytes(agent_bundle().data)
        artifact.write_bytes(b"timed")
        command = agent_command(
            sys.executable, str(program), str(where.folder / "farm"), "bench", "benchmark", 30.0
        )
        channel = transport.open(before + command, timeout_s=30)
        made = AgentSession(channel, board="bench", heartbeat_s=0.5, dead_after_s=30)
        stack.callback(made.close)
        made.hello()
        made.open_model(
            runtime="timed",
            artifact=str(artifact),
            sha256=hashlib.sha256(b"timed").hexdigest(),
            options=timed,
            preprocessing=Preprocessing("NCHW", "RGB", 127.5, 127.5, SIZE, SIZE),
            timeout_s=30,
        )
        yield made


class Images:
    """As many images as one likes, made when they are read."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._some = np.random.default_rng(0).integers(0, 256, (64, SIZE, SIZE, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return self._count

    def read(self, start: int, n: int) -> NDArray[np.uint8]:
        """Images `start` to `start + n`."""
        return self._some[(np.arange(start, start + n)) % len(self._some)]
