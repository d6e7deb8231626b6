"""The boards of a run: started where emulated, connected, their calls sent to host actors."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.cluster.compute import translated
from orchestrator.cluster.errors import NodeLost
from orchestrator.cluster.host_actor import BOARDS_PER_HOST, actor_class, portable
from orchestrator.cluster.interfaces import BoardMessage, ImageFile
from orchestrator.cluster.ray_cluster import RayCluster
from orchestrator.cluster.remote_images import sent
from orchestrator.errors import FarmError, TransientError
from orchestrator.fleet.boards.addressing import address_of
from orchestrator.fleet.boards.board import Address, Artifact
from orchestrator.fleet.boards.deadlines import CONTROL_S, HOST_GRACE_S, PROOF_S, Deadlines
from orchestrator.fleet.boards.recovery import Rung, climb, longest_s
from orchestrator.fleet.emulated.boards import EmulatedFleet
from orchestrator.specs.inventory import Board

# A host actor's own deadlines come first; only one that hangs lets these pass.


@dataclass(eq=False)
class _Host:
    """A host actor, on a node of Ray's; `site` is empty on the driver's."""

    actor: Any
    site: str
    node: str
    boards: set[str] = field(default_factory=set)


class Boards:
    """Owns emulated boards and host actors. Thread-safe."""

    def __init__(
        self,
        state: Path,
        run: str,
        cluster: RayCluster,
        deadlines: Deadlines,
        keep_images: bool = False,
        stop: threading.Event | None = None,
        per_host: int = BOARDS_PER_HOST,
    ) -> None:
        self._per_host = per_host
        self._stop = stop or threading.Event()
        self._state, self._deadlines = state.resolve(), deadlines
        self._keep_images = keep_images
        self._emulated = EmulatedFleet(state / "emulated")
        self._owner = f"{getpass.getuser()}@{socket.gethostname()} run {run} pid {os.getpid()}"
        self._cluster = cluster
        self._guard = threading.Lock()
        self._hosts: list[_Host] = []
        self._of: dict[str, _Host] = {}
        self._sites: dict[str, str] = {}
        self._placing: dict[str, threading.Lock] = {}

    def recover(self, board: Board, rung: Rung) -> str:
        """Reboot a board or cycle its power; what went wrong in words, empty when it was done."""
        if board.emulated and rung == "reboot":
            self._emulated.stop(board.name)
            return ""
        address = self._address(board) if rung == "reboot" else None
        if not self._cluster.site_of(board):
            return climb(board, rung, address, self._stop)
        import ray

        limit = longest_s(board, self._deadlines.connect_s) + HOST_GRACE_S
        try:
            with translated(f"{board.name}: {rung}"), self._buried(board.name):
                host = self._host(board.name)
                climbing = host.actor.recover.remote(board, rung, address)
                try:
                    words: str = ray.get(climbing, timeout=limit)
                except ray.exceptions.GetTimeoutError:
                    words = f"{board.name}: {rung} did not end within {limit:.0f} s"
                return words
        except TransientError as error:
            return error.message

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
        self._cluster.wait()
        import ray

        self._sites[board.name] = self._cluster.site_of(board)
        host = self._host(board.name)
        limit = self._deadlines.meet_s + HOST_GRACE_S + (PROOF_S if runtimes else 0.0)
        with translated(f"{board.name}: connecting"), self._buried(board.name):
            try:
                facts: dict[str, Any] = ray.get(
                    host.actor.connect.remote(address, board, runtimes), timeout=limit
                )
            except ray.exceptions.RayTaskError as error:
                if host.site and isinstance(error.cause, FarmError):
                    raise self._seen_from(host, error.cause) from error
                raise
            except ray.exceptions.GetTimeoutError as error:
                self._abandon(board.name, host)
                raise TransientError(
                    f"{board.name}: not connected within {limit:.0f} s",
                    "the reason is in driver.log of the run",
                ) from error
        return facts

    def deploy(self, board: str, artifact: Artifact, data: bytes) -> Iterator[BoardMessage]:
        """See `BoardCalls.deploy`; raises as `measure`."""
        return self._call(board, "deploy", (artifact, data))

    def measure(
        self,
        board: str,
        artifact: Artifact,
        images: ImageFile,
        policy: Mapping[str, Any],
        sensors: Mapping[str, Sequence[str]],
    ) -> Iterator[BoardMessage]:
        """See `BoardCalls.measure`.

        Raises:
            TransientError: the host actor died, or hangs; then the call is stopped there.
            FarmError: what the board's agent raised.
        """
        works_s = float(policy["max_duration_s"])
        return self._call(board, "measure", (artifact, images, policy, sensors), works_s)

    def extract(
        self,
        board: str,
        artifact: Artifact,
        images: ImageFile,
        chunk: int,
        works_s: float = 0.0,
    ) -> Iterator[BoardMessage]:
        """See `BoardCalls.extract`; raises as `measure`."""
        return self._call(board, "extract", (artifact, images, chunk), works_s)

    def _call(
        self, board: str, method: str, arguments: tuple[object, ...], works_s: float = 0.0
    ) -> Iterator[BoardMessage]:
        """A streaming method of the board's host actor; nothing may come for `works_s` more."""
        import ray

        host = self._host(board)
        if host.site:
            arguments = tuple(
                sent(each, ray.put) if isinstance(each, ImageFile) else each for each in arguments
            )
        every = self._deadlines
        limit = every.transfer_s + every.open_s + every.chunk_s + works_s + HOST_GRACE_S
        with translated(f"{board}: {method}"), self._buried(board):
            stream = getattr(host.actor, method).remote(board, *arguments)
            while True:
                if not ray.wait([stream], timeout=limit)[0]:
                    self._abandon(board, host)
                    raise TransientError(f"{board}: {method}: nothing came for {limit:.0f} s")
                try:
                    reference = next(stream)
                except StopIteration:
                    return
                message: BoardMessage = ray.get(reference, timeout=limit)
                yield message

    def cancel(self, board: str) -> None:
        """Stop what a board is doing."""
        with self._guard:
            host = self._of.get(board)
        if host is not None:
            host.actor.cancel.remote(board)

    def let_go(self, board: str) -> None:
        """End one board's agent, and with it its lock, so that somebody else may use the board."""
        with self._guard:
            host = self._of.get(board)
        if host is not None:
            host.actor.close.remote(board)

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
                ray.get([host.actor.close.remote() for host in hosts], timeout=3.0)
            for host in hosts:
                with contextlib.suppress(Exception):
                    ray.kill(host.actor)
        self._emulated.close()

    def _host(self, board: str) -> _Host:
        """The host actor of a board, a new one where those of its site have enough.

        Raises:
            NodeLost: its site has no node now.
        """
        site = self._sites.get(board, "")
        if (found := self._with_room(board, site)) is not None:
            return found
        with self._guard:
            placing = self._placing.setdefault(site, threading.Lock())
        # A node may take long to answer, which must not hold up other sites.
        with placing:
            if (found := self._with_room(board, site)) is not None:
                return found
            node = self._cluster.node_of(site)
            start = actor_class(self._per_host).options(**self._cluster.at(node)).remote
            host = _Host(start("" if site else self._cluster.folder), site, node, {board})
            with self._guard:
                self._hosts.append(host)
                self._of[board] = host
            return host

    def _with_room(self, board: str, site: str) -> _Host | None:
        """The board's host actor, or one of its site that takes it now."""
        with self._guard:
            if board not in self._of:
                for host in self._hosts:
                    if host.site == site and len(host.boards) < self._per_host:
                        host.boards.add(board)
                        self._of[board] = host
                        break
            return self._of.get(board)

    def _seen_from(self, host: _Host, error: FarmError) -> FarmError:
        """An error with the node that met it: its keys, names and network are not the driver's."""
        plain = portable(error)
        where = f" (seen from node {self._cluster.words(host.node)})"
        return type(plain)(plain.message + where, plain.hint)

    @contextlib.contextmanager
    def _buried(self, board: str) -> Iterator[None]:
        """A dead host actor is forgotten, so that the next call gets a new one.

        Raises:
            NodeLost: the actor died with its node.
        """
        import ray

        gone = ray.exceptions
        try:
            yield
        except (
            gone.ActorDiedError,
            gone.ActorUnavailableError,
            gone.ActorUnschedulableError,
        ) as error:
            with self._guard:
                dead = self._of.get(board)
            self._forget(dead)
            if dead is not None:
                self._cluster.doubt(dead.node)
            if dead is not None and dead.site and self._cluster.lost(dead.node):
                raise NodeLost(
                    f"{board}: node {self._cluster.words(dead.node)}, which drives it, is gone "
                    "from the Ray cluster",
                ) from error
            raise

    def _forget(self, dead: _Host | None) -> None:
        with self._guard:
            self._hosts = [host for host in self._hosts if host is not dead]
            self._of = {name: host for name, host in self._of.items() if host is not dead}

    def _abandon(self, board: str, host: _Host) -> None:
        """Stop a call that hangs: by its session if the actor still listens, else the actor."""
        import ray

        try:
            ray.get(host.actor.close.remote(board), timeout=CONTROL_S)
        except ray.exceptions.RayError:
            ray.kill(host.actor)
            self._forget(host)
