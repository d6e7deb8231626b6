"""The boards of a run: started where emulated, connected, their calls sent to host actors."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.errors import TransientError
from orchestrator.fleet.board import Address, Deadlines
from orchestrator.fleet.emulated import EmulatedFleet
from orchestrator.fleet.reaching import address_of
from orchestrator.fleet.recovery import Rung, climb
from orchestrator.scheduling.compute import translated
from orchestrator.scheduling.hosts import BOARDS_PER_HOST, actor_class
from orchestrator.scheduling.ray_local import LocalRay
from orchestrator.specs.inventory import Board, EmulatedTransportSpec

# A host actor's own deadlines come first; only one that hangs lets these pass.
GRACE_S = 30.0
CONTROL_S = 5.0
PROOF_S = 300.0


class Boards:
    """Owns emulated boards and host actors. Thread-safe."""

    def __init__(
        self,
        state: Path,
        run: str,
        ray_head: LocalRay,
        deadlines: Deadlines,
        keep_images: bool = False,
        stop: threading.Event | None = None,
    ) -> None:
        self._stop = stop or threading.Event()
        self._state, self._deadlines = state.resolve(), deadlines
        self._keep_images = keep_images
        self._emulated = EmulatedFleet(state / "emulated")
        self._owner = f"{getpass.getuser()}@{socket.gethostname()} run {run} pid {os.getpid()}"
        self._ray = ray_head
        self._guard = threading.Lock()
        self._hosts: list[tuple[Any, set[str]]] = []
        self._of: dict[str, Any] = {}

    def recover(self, board: Board, rung: Rung) -> str:
        """Reboot a board or cycle its power; what went wrong in words, empty when it was done."""
        if isinstance(board.transport, EmulatedTransportSpec) and rung == "reboot":
            self._emulated.stop(board.name)
            return ""
        address = None
        if rung == "reboot":
            address = self._address(board)
        return climb(board, rung, address, self._stop)

    def _address(self, board: Board) -> Address:
        return address_of(
            board,
            owner=self._owner,
            state=self._state,
            emulated=self._emulated,
            deadlines=self._deadlines,
        )

    def connect(self, board: Board, runtimes: tuple[str, ...] = ()) -> dict[str, Any]:
        """Reach a board, start its agent, take its lock; its facts as plain values.

        Args:
            board: its entry.
            runtimes: to be proved there; what was found is in the facts under `check`.

        Raises:
            TransientError, BoardError, UserError: see `BoardLink.connect`.
        """
        address = self._address(board)
        # This host's own images lie here anyway.
        keep = self._keep_images and address.transport != "local"
        address = replace(address, images="keep" if keep else "clear")
        self._ray.wait()
        import ray

        host = self._host(board.name)
        limit = self._deadlines.meet_s + GRACE_S + (PROOF_S if runtimes else 0.0)
        with translated(f"{board.name}: connecting"), self._buried(board.name):
            try:
                facts: dict[str, Any] = ray.get(
                    host.connect.remote(address, board, runtimes), timeout=limit
                )
            except ray.exceptions.GetTimeoutError as error:
                self._abandon(board.name, host)
                raise TransientError(
                    f"{board.name}: not connected within {limit:.0f} s",
                    "the reason is in driver.log of the run",
                ) from error
        return facts

    def call(self, board: str, method: str, *arguments: Any, works_s: float = 0.0) -> Iterator[Any]:
        """Call a streaming method of the board's host actor; yields what it yields.

        Args:
            works_s: how long the method may work without a word, beyond the deadlines of a call.

        Raises:
            TransientError: the host actor died, or hangs; then the call is stopped there.
            FarmError: what the method raised.
        """
        import ray

        host = self._host(board)
        every = self._deadlines
        limit = every.transfer_s + every.open_s + every.chunk_s + works_s + GRACE_S
        with translated(f"{board}: {method}"), self._buried(board):
            stream = getattr(host, method).remote(board, *arguments)
            while True:
                if not ray.wait([stream], timeout=limit)[0]:
                    self._abandon(board, host)
                    raise TransientError(f"{board}: {method}: nothing came for {limit:.0f} s")
                try:
                    reference = next(stream)
                except StopIteration:
                    return
                yield ray.get(reference, timeout=limit)

    def cancel(self, board: str) -> None:
        """Stop what a board is doing."""
        with self._guard:
            host = self._of.get(board)
        if host is not None:
            host.cancel.remote(board)

    def let_go(self, board: str) -> None:
        """End one board's agent, and with it its lock, so that somebody else may use the board."""
        with self._guard:
            host = self._of.get(board)
        if host is not None:
            host.close.remote(board)

    def release(self, *, reachable: bool = True) -> None:
        """End all agents, and with them their locks; then the emulated boards.

        Args:
            reachable: False when Ray's head is dead: its actors end with it, and cannot be asked.
        """
        with self._guard:
            hosts, self._hosts, self._of = self._hosts, [], {}
        if hosts and reachable:
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
            self._forget(dead)
            raise

    def _forget(self, dead: Any) -> None:
        with self._guard:
            self._hosts = [pair for pair in self._hosts if pair[0] is not dead]
            self._of = {name: host for name, host in self._of.items() if host is not dead}

    def _abandon(self, board: str, host: Any) -> None:
        """Stop a call that hangs: by its session if the actor still listens, else the actor."""
        import ray

        try:
            ray.get(host.close.remote(board), timeout=CONTROL_S)
        except ray.exceptions.RayError:
            ray.kill(host)
            self._forget(host)
