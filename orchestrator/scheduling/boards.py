"""The boards of a run: started where emulated, connected, their calls sent to host actors."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.errors import TransientError
from orchestrator.fleet.board import Address
from orchestrator.fleet.emulated import EmulatedFleet
from orchestrator.scheduling.compute import translated
from orchestrator.scheduling.hosts import BOARDS_PER_HOST, actor_class
from orchestrator.scheduling.ray_local import LocalRay
from orchestrator.specs.inventory import Board, SshTransportSpec

CONNECT_S = 180.0
DEFAULT_WORKDIR = "~/.farm"


class Boards:
    """Owns emulated boards and host actors. Thread-safe."""

    def __init__(self, state: Path, run: str, ray_head: LocalRay) -> None:
        self._state = state.resolve()
        self._emulated = EmulatedFleet(state / "emulated")
        self._owner = f"{getpass.getuser()}@{socket.gethostname()} run {run} pid {os.getpid()}"
        self._ray = ray_head
        self._guard = threading.Lock()
        self._hosts: list[tuple[Any, set[str]]] = []
        self._of: dict[str, Any] = {}

    def connect(self, board: Board) -> dict[str, Any]:
        """Reach a board, start its agent, take its lock; its facts as plain values.

        Raises:
            TransientError, BoardError, UserError: see `BoardLink.connect`.
        """
        address = self._address(board)
        self._ray.wait()
        import ray

        host = self._host(board.name)
        with translated(f"{board.name}: connecting"), self._buried(board.name):
            facts: dict[str, Any] = ray.get(host.connect.remote(address), timeout=CONNECT_S)
        return facts

    def call(self, board: str, method: str, *arguments: Any) -> Iterator[Any]:
        """Call a streaming method of the board's host actor; yields what it yields."""
        import ray

        host = self._host(board)
        with translated(f"{board}: {method}"), self._buried(board):
            for reference in getattr(host, method).remote(board, *arguments):
                yield ray.get(reference)

    def cancel(self, board: str) -> None:
        """Stop what a board is doing."""
        with self._guard:
            host = self._of.get(board)
        if host is not None:
            host.cancel.remote(board)

    def release(self) -> None:
        """End all agents, and with them their locks; then the emulated boards."""
        with self._guard:
            hosts, self._hosts, self._of = self._hosts, [], {}
        if hosts:
            import ray

            with contextlib.suppress(Exception):
                ray.get([host.close.remote() for host, _ in hosts], timeout=3.0)
        self._emulated.close()

    def _host(self, board: str) -> Any:
        with self._guard:
            if board in self._of:
                return self._of[board]
            for host, names in self._hosts:  # noqa: B007 - the one that the loop ends with
                if len(names) < BOARDS_PER_HOST:
                    break
            else:
                host, names = actor_class().remote(), set()
                self._hosts.append((host, names))
            names.add(board)
            self._of[board] = host
            return host

    @contextlib.contextmanager
    def _buried(self, board: str) -> Iterator[None]:
        """A dead host actor is forgotten, so that the next call gets a new one."""
        import ray

        try:
            yield
        except (ray.exceptions.ActorDiedError, ray.exceptions.ActorUnavailableError):
            with self._guard:
                dead = self._of.get(board)
                self._hosts = [pair for pair in self._hosts if pair[0] is not dead]
                self._of = {name: host for name, host in self._of.items() if host is not dead}
            raise
        except ray.exceptions.GetTimeoutError as error:
            raise TransientError(f"{board}: no answer within {CONNECT_S:.0f} s") from error

    def _address(self, board: Board) -> Address:
        transport = board.transport
        python, workdir = board.python, board.workdir
        if isinstance(transport, SshTransportSpec):
            return Address(
                board.name,
                "ssh",
                host=transport.host,
                port=transport.port,
                user=transport.user,
                key_file=transport.key,
                host_key=transport.host_key,
                owner=self._owner,
                python=python,
                workdir=workdir,
            )
        if transport.type == "local":
            # This host's own files belong beside the rest of farm's, not into the user's home.
            own = str(self._state / "local" / board.name)
            place = own if workdir == DEFAULT_WORKDIR else workdir
            return Address(board.name, "local", owner=self._owner, python=python, workdir=place)
        server = self._emulated.start(board.name)
        return Address(
            board.name,
            "ssh",
            host=server.host,
            port=server.port,
            user=server.user,
            key_file=str(server.key_file),
            host_key=server.host_key,
            owner=self._owner,
            python=python,
            workdir=workdir,
        )
