"""A real agent behind real SSH: OpenSSH's server, or farm's own where it is not installed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.agents.host import processes
from orchestrator.fleet.boards.agent_bundle import agent_bundle, agent_command
from orchestrator.fleet.boards.board import Address, Artifact
from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.fleet.emulated.boards import EmulatedFleet, ensure_key
from orchestrator.fleet.session.client import AgentSession
from orchestrator.fleet.transport.ssh import SshTransport
from tests.agents.pipes import PYTHON
from tests.openssh import running_sshd

# Waits scaled down, but longer than a busy machine leaves a thread without its turn.
BEAT_S, DEAD_S, IDLE_S = 0.1, 4.0, 6.0
LIMITS = Deadlines(connect_s=10, command_s=10, transfer_s=20, open_s=20, silence_s=4.0, chunk_s=6.0)
PIXELS = {"layout": "NCHW", "colour": "RGB", "mean": [127.5], "std": [127.5]}


@dataclass
class Server:
    """An SSH server; `folder` is a folder of the board, seen from here too."""

    host: str
    port: int
    user: str
    key: Path
    host_key: str
    folder: Path
    pid: int = 0
    transports: list[SshTransport] = field(default_factory=list)

    def transport(self, port: int = 0) -> SshTransport:
        """A new connection."""
        made = SshTransport(
            "vim3",
            self.host,
            port=port or self.port,
            user=self.user,
            key_file=self.key,
            host_key=self.host_key,
            use_agent=False,
        )
        made.connect(20)
        self.transports.append(made)
        return made

    def address(self, workdir: Path, **changes: Any) -> Address:
        """For a `BoardLink`."""
        values = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "key_file": str(self.key),
            "host_key": self.host_key,
            "python": PYTHON,
            "workdir": str(workdir),
            "lock": "workdir",
            "deadlines": LIMITS,
            **changes,
        }
        return Address("vim3", "ssh", **values)


@contextlib.contextmanager
def openssh(folder: Path) -> Iterator[Server]:
    """OpenSSH's server for the length of a `with`."""
    key = folder / "key"
    with running_sshd(folder, ensure_key(key)) as sshd:
        made = Server(sshd.host, sshd.port, sshd.user, key, sshd.host_key, folder, sshd.process.pid)
        yield made
        for transport in made.transports:
            transport.close()


@contextlib.contextmanager
def emulated(folder: Path) -> Iterator[Server]:
    """An emulated board for the length of a `with`."""
    with EmulatedFleet(folder) as fleet:
        board = fleet.start("vim3")
        made = Server(
            board.host,
            board.port,
            board.user,
            board.key_file,
            board.host_key,
            folder / "vim3" / "home",
        )
        yield made
        for transport in made.transports:
            transport.close()


@contextlib.contextmanager
def session(
    transport: SshTransport, folder: Path, *, idle_s: float = IDLE_S, channel: Any = None
) -> Iterator[AgentSession]:
    """A session of a fresh agent in the workdir `folder`; `channel` wraps its channel."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "agent.pyz"
    if not program.exists():
        transport.put(agent_bundle().data, str(program), mode=0o600, timeout_s=20)
    command = agent_command(PYTHON, str(program), str(folder), "vim3", "tester", idle_s)
    opened = transport.open(command, timeout_s=20)
    made = AgentSession(
        channel(opened) if channel else opened,
        board="vim3",
        heartbeat_s=BEAT_S,
        dead_after_s=DEAD_S,
    )
    try:
        yield made
    finally:
        made.close()


def timed(data: bytes, size: int = 112, **options: Any) -> Artifact:
    """An artifact that the timed runtime loads, whatever its bytes are."""
    sha256 = hashlib.sha256(data).hexdigest()
    pixels = {**PIXELS, "height": size, "width": size}
    return Artifact(f"{sha256[:8]}.bin", sha256, "timed", options, pixels)


def started(*pids: int) -> list[tuple[int, int]]:
    """Pids with their start times; all must be running."""
    found = [(pid, processes.start_time(pid)) for pid in pids]
    assert all(start for _, start in found)
    return found


class Damaging:
    """A channel that flips one bit of what is written or read, once armed."""

    def __init__(self, channel, direction):
        self._channel, self._direction = channel, direction
        self.armed = False

    def __getattr__(self, name):
        return getattr(self._channel, name)

    def _damage(self, data, direction):
        if self.armed and direction == self._direction and len(data) > 24:
            self.armed = False
            data = bytearray(data)
            data[22] ^= 4
        return bytes(data)

    def read(self, limit):
        return self._damage(self._channel.read(limit), "read")

    def write(self, data):
        self._channel.write(self._damage(data, "write"))
