"""From an inventory's entry to a board that answers: its address, and the agent's own commands."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator import environments, machines
from orchestrator.errors import BoardError, TransientError, UserError
from orchestrator.fleet.boards.agent_bundle import agent_bundle
from orchestrator.fleet.boards.board import Address, make_transport
from orchestrator.fleet.boards.deadlines import SIMULATOR_BUILD_S, Deadlines
from orchestrator.fleet.boards.deploying import check_python, deploy
from orchestrator.fleet.boards.person import person
from orchestrator.fleet.emulated.boards import EmulatedFleet
from orchestrator.fleet.session.types import clean_mapping
from orchestrator.fleet.transport.channel import Transport
from orchestrator.fleet.transport.commands import json_answer, python_command, said, workdir_on
from orchestrator.fleet.transport.jump_hosts import Place
from orchestrator.fleet.transport.untrusted import one_line
from orchestrator.machines import Machine
from orchestrator.specs.inventory import Board
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.transports import JumpHost, SshTransportSpec

DEFAULT_WORKDIR = "~/.farm"
# Small jobs: a person waits for them.
PATIENCE = Deadlines(connect_s=15.0, command_s=20.0, transfer_s=120.0, open_s=60.0, chunk_s=30.0)
_REFUSED = 3


def me(doing: str) -> str:
    """Who holds a board, as whoever finds it busy is told."""
    return f"{person()} {doing} pid {os.getpid()}"


def address_of(
    board: Board,
    *,
    owner: str,
    state: Path,
    emulated: EmulatedFleet,
    deadlines: Deadlines = PATIENCE,
) -> Address:
    """Where a board is; an emulated one is started.

    Args:
        owner: told to whoever finds the board busy.
        state: farm's own folder, which holds the files of this host as a board.
        emulated: starts emulated boards.

    Raises:
        TransientError, UserError: an emulated board does not start.
    """
    transport, python, workdir = board.transport, board.python, board.workdir
    if isinstance(transport, SshTransportSpec):
        return Address(
            board.name,
            "ssh",
            host=transport.host,
            port=transport.port,
            user=transport.user,
            key_file=transport.key,
            host_key=transport.host_key,
            jump=places(transport.jump),
            python=python,
            workdir=workdir,
            owner=owner,
            lock=board.lock,
            libraries=board.libraries,
            deadlines=deadlines,
        )
    if transport.type == "local":
        # This host's own files belong beside the rest of farm's, not into the user's home.
        own = str(state.resolve() / "local" / board.name)
        place = own if workdir == DEFAULT_WORKDIR else workdir
        return Address(
            board.name,
            "local",
            python=python,
            workdir=place,
            owner=owner,
            lock=board.lock,
            at_a_time=len(os.sched_getaffinity(0)),
            libraries=board.libraries,
            deadlines=deadlines,
        )
    if transport.type == "simulator":
        return Address(
            board.name,
            "local",
            python=_simulator(board),
            workdir=str(state.resolve() / "local" / board.name),
            owner=owner,
            lock=board.lock,
            deadlines=replace(deadlines, open_s=max(deadlines.open_s, SIMULATOR_BUILD_S)),
        )
    server = emulated.start(board.name, machine=_machine(board))
    return Address(
        board.name,
        "ssh",
        host=server.host,
        port=server.port,
        user=server.user,
        key_file=str(server.key_file),
        host_key=server.host_key,
        python=python,
        workdir=workdir,
        owner=owner,
        lock=board.lock,
        deadlines=deadlines,
    )


def places(hosts: Iterable[JumpHost]) -> tuple[Place, ...]:
    """Jump hosts of the inventory as the way to a board."""
    return tuple(Place(h.host, h.port, h.user, h.key, h.host_key) for h in hosts)


def _machine(board: Board) -> Machine | None:
    """The processor that an emulated board has; None for this host's."""
    if not board.machine:
        return None
    there = machines.find(board.machine)
    if there is None:
        raise UserError(
            f"{board.name} is emulated as {board.machine}, which is not installed here",
            machines.install_command(board.machine),
        )
    return there


def _simulator(board: Board) -> str:
    """The Python of the environment that has the vendor's simulator."""
    name = load_kinds()[board.kind].toolchain
    there = environments.find(name)
    if there is None:
        raise UserError(
            f"{board.name}: the simulator of {name} is not installed",
            f"farm toolchain install {name}",
        )
    return there.python


@contextlib.contextmanager
def contact(address: Address) -> Iterator[AgentCommands]:
    """A board with the agent's file on it, its lock not taken.

    Raises:
        TransientError: it does not answer.
        BoardError: another host key than the pinned one, no usable Python, no room.
        UserError: no key of ours is let in, or no host key is pinned.
    """
    transport = make_transport(address)
    try:
        transport.connect(address.deadlines.connect_s)
        yield AgentCommands(address, transport)
    finally:
        transport.close()


class AgentCommands:
    """What the agent does without a session: each a short process on the board."""

    def __init__(self, address: Address, transport: Transport) -> None:
        self.transport = transport
        self._address = address
        limits = address.deadlines
        check_python(transport, address.python, limits.command_s)
        self.workdir = workdir_on(
            transport, address.workdir, board=address.name, timeout_s=limits.command_s
        )
        bundle = agent_bundle()
        self._program = deploy(
            transport,
            bundle.data,
            remote_dir=self.workdir,
            name=f"agent-{bundle.sha256[:16]}.pyz",
            sha256=bundle.sha256,
            timeout_s=limits.transfer_s,
        ).path

    def who(self) -> Mapping[str, Any]:
        """The holder of the board's lock: `owner`, `reason`, `since`, ...; empty when it is free.

        Raises:
            TransientError, BoardError: as `release`.
        """
        return self._run("who")

    def release(self, reason: str) -> Mapping[str, Any]:
        """Take the lock from its holder, whose processes are killed; who that was.

        Raises:
            TransientError: the holder could not be ended, or the link failed.
            BoardError: the agent does not run there.
        """
        found = self._run("release", "--reason", reason).get("released")
        return found if isinstance(found, dict) else {}

    def wipe(self) -> tuple[str, ...]:
        """Remove farm's files from the board; their names.

        Raises:
            TransientError: somebody works there, or the link failed.
            BoardError: the agent does not run there.
        """
        found = self._run("wipe").get("removed")
        return tuple(map(str, found)) if isinstance(found, list) else ()

    def record(self) -> Mapping[str, Any]:
        """What the board answers: `hello`, `files`, `present`. Somebody else's word, unbounded.

        Raises:
            TransientError, BoardError: as `release`.
        """
        return self._run("record", clean=False)

    def _run(self, command: str, *more: str, clean: bool = True) -> Mapping[str, Any]:
        address = self._address
        words = [self._program, command, "--workdir", self.workdir]
        words += ["--board", address.name, "--owner", address.owner, "--lock", address.lock, *more]
        asked = python_command(address.python, *words)
        result = self.transport.run(asked, timeout_s=address.deadlines.command_s)
        says = one_line(result.stderr)
        if result.status == _REFUSED:
            raise TransientError(says or f"{address.name}: the agent refused `{command}`")
        answer = json_answer(result.stdout) if result.status == 0 else None
        if answer is None:
            raise BoardError(
                f"{address.name}: the agent's `{command}` gave no answer: {said(result)}"
            )
        return clean_mapping(answer) if clean else answer
