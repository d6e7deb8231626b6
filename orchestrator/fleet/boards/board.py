"""One board, held for a run: connected, its agent running, its lock taken."""

from __future__ import annotations

import contextlib
import getpass
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.errors import BoardError, FarmError, TransientError
from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.fleet.transport.channel import Transport
from orchestrator.fleet.transport.deadline import named
from orchestrator.specs.runtimes import runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.data.features import Features
    from orchestrator.data.progress import Progress
    from orchestrator.data.times import RawTimes
    from orchestrator.fleet.session.client import (
        AgentFacts,
        AgentSession,
        Building,
        ImageSource,
        MeasureFacts,
        ModelFacts,
        Preprocessing,
        SensorSample,
    )
    from orchestrator.fleet.session.image_cache import Offer
    from orchestrator.fleet.transport.jump_hosts import Place


class BoardBusy(TransientError):
    """Somebody else holds the board's lock; the message names them."""


class Untrusted(BoardError):
    """Another machine may be answering in the board's place: nothing is done to it."""


@dataclass(frozen=True)
class Address:
    """Where a board is and what is used there; plain values, so that it can travel.

    Attributes:
        name: the board's name in the inventory.
        transport: `local`, or `ssh` for real and emulated boards alike.
        host, port, user, key_file, host_key: for `ssh`.
        python: the Python 3.6+ that runs the agent there.
        workdir: farm's own folder on the board; `~` is the user's home.
        lock: what a session holds: the whole `board`, or `workdir` where several boards are one
            machine.
        images: whether a session keeps the test images it extracts from on the board (`keep`),
            removes those kept before (`clear`), or does neither (`leave`).
        at_a_time: images that it may compute at a time, where a runtime can do that.
        libraries: runtime to the path of its library on the board, where the inventory names one.
        asked: where `deadlines` are shares of them, the deadlines that were asked for.
    """

    name: str
    transport: str
    host: str = ""
    port: int = 22
    user: str | None = None
    key_file: str | None = None
    host_key: str | None = None
    jump: tuple[Place, ...] = ()
    python: str = "python3"
    workdir: str = "~/.farm"
    owner: str = "farm"
    lock: Literal["board", "workdir"] = "board"
    images: Literal["keep", "clear", "leave"] = "leave"
    at_a_time: int = 1
    libraries: Mapping[str, str] = field(default_factory=dict)
    deadlines: Deadlines = field(default_factory=Deadlines)
    asked: Deadlines | None = None


@dataclass(frozen=True)
class Artifact:
    """A file to run and how: what `deploy` and `open` need.

    `options` go to the runtime. `preprocessing` is what `Preprocessing.to_meta` gives: how the
    board makes the file's input of raw images.
    """

    name: str
    sha256: str
    runtime: str
    options: Mapping[str, Any]
    preprocessing: Mapping[str, Any]


class BoardLink:
    """A connected board. Calls come from one thread at a time; `cancel` and `close` from any."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._transport: Transport | None = None
        self._session: AgentSession | None = None
        self._workdir = ""
        self._open: Artifact | None = None
        self._model: ModelFacts | None = None
        self._guard = threading.Lock()
        self._cancelled = threading.Event()

    def connect(self) -> AgentFacts:
        """Reach the board, bring the agent, start it and take the board's lock.

        Raises:
            TransientError: the board does not answer.
            BoardBusy: somebody else holds its lock.
            BoardError: its host key changed, it has no usable Python, or the disk is full.
            UserError: our key was refused.
        """
        from orchestrator.fleet.boards.agent_bundle import agent_bundle, agent_command
        from orchestrator.fleet.boards.deploying import check_python, deploy
        from orchestrator.fleet.session.client import AgentSession
        from orchestrator.fleet.transport.commands import workdir_on

        self.close()
        self._cancelled.clear()
        limits = self.address.deadlines
        transport = make_transport(self.address)
        self._transport = transport
        with self._named("connect_s"):
            transport.connect(limits.connect_s)
        with self._named("command_s"):
            check_python(transport, self.address.python, limits.command_s)
            self._workdir = workdir_on(
                transport,
                self.address.workdir,
                board=self.address.name,
                timeout_s=limits.command_s,
            )
        bundle = agent_bundle()
        with self._named("transfer_s"):
            place = deploy(
                transport,
                bundle.data,
                remote_dir=self._workdir,
                name=f"agent-{bundle.sha256[:16]}.pyz",
                sha256=bundle.sha256,
                timeout_s=limits.transfer_s,
            )
        command = agent_command(
            self.address.python,
            place.path,
            self._workdir,
            self.address.name,
            self.address.owner,
            limits.silence_s,
            lock=self.address.lock,
            images="clear" if self.address.images == "clear" else "leave",
            libraries=self.address.libraries,
        )
        with self._named("command_s"):
            channel = transport.open(command, timeout_s=limits.command_s)
        session = AgentSession(
            channel,
            board=self.address.name,
            heartbeat_s=min(2.0, limits.silence_s / 4),
            dead_after_s=limits.silence_s,
            start_timeout_s=limits.open_s,
        )
        with self._guard:
            self._session = session
        try:
            with self._named("open_s"):
                return session.hello()
        except TransientError as error:
            if self._is_held(transport, place.path):
                raise BoardBusy(error.message, error.hint) from error
            raise

    def deploy(
        self, artifact: Artifact, data: bytes, progress: Callable[[int], None] | None = None
    ) -> bool:
        """Bring an artifact, verified by its sha256 on the board.

        Returns:
            True when it was there already.
        """
        from orchestrator.fleet.boards.deploying import deploy

        transport, _ = self._connected()
        limit = self.address.deadlines.transfer_s
        with self._named("transfer_s"):
            place = deploy(
                transport,
                data,
                remote_dir=f"{self._workdir}/artifacts",
                name=artifact.name,
                sha256=artifact.sha256,
                timeout_s=limit,
                progress=progress,
            )
        return place.skipped

    def open(
        self, artifact: Artifact, on_building: Callable[[Building], None] | None = None
    ) -> ModelFacts:
        """Load a deployed artifact into its runtime, unless it is loaded already.

        Args:
            on_building: how long the board has been building what it runs, about once a second.
        """
        _, session = self._connected()
        if self._open == artifact and self._model is not None:
            return self._model
        self._open = None
        limits = self.address.deadlines
        builds = runtime(artifact.runtime).builds
        # What builds says itself when `build_s` ends.
        with self._named("open_s"):
            self._model = session.open_model(
                runtime=artifact.runtime,
                artifact=f"{self._workdir}/artifacts/{artifact.name}",
                sha256=artifact.sha256,
                options={**artifact.options, **({"build_s": limits.build_s} if builds else {})},
                preprocessing=preprocessing_of(artifact),
                timeout_s=limits.open_s,
                build_s=limits.build_s if builds else 0.0,
                on_building=on_building,
            )
        self._open = artifact
        return self._model

    def measure(
        self,
        images: NDArray[np.uint8],
        policy: Mapping[str, Any],
        sensors: Mapping[str, Sequence[str]] | None = None,
    ) -> Iterator[Progress | RawTimes | SensorSample]:
        """Time inferences; see `AgentSession.measure`."""
        from orchestrator.fleet.session.client import MeasurePolicy

        _, session = self._connected()
        asked = MeasurePolicy(**policy)
        chunk_s = self.address.deadlines.chunk_s
        with self._named("chunk_s"):
            yield from session.measure(
                images, asked, timeout_s=asked.longest_s + chunk_s, sensors=sensors
            )

    def extract(
        self, images: ImageSource, chunk: int, offer: Callable[[], Offer] | None = None
    ) -> Iterator[Features]:
        """Make features of images; see `AgentSession.extract`.

        Args:
            offer: makes the images' offer, where the address says that they are to be kept.
        """
        _, session = self._connected()
        keep = offer() if offer is not None and self.address.images == "keep" else None
        limit = self.address.deadlines.chunk_s
        with self._named("chunk_s"):
            yield from session.extract(
                images,
                chunk=chunk,
                timeout_s=limit,
                keep=keep,
                at_a_time=self.address.at_a_time,
            )

    def telemetry(self) -> Mapping[str, Any]:
        """The latest temperatures and clocks that the agent told, empty when it has told none."""
        session = self._session
        return session.telemetry() if session is not None else {}

    @property
    def noise(self) -> str:
        """What the board's login shell prints beside answers, quoted; empty when it is silent."""
        from_session = self._session.noise if self._session is not None else ""
        return str(getattr(self._transport, "noise", "")) or from_session

    @property
    def measured(self) -> MeasureFacts | None:
        """How the last measurement went."""
        return self._session.measurement if self._session is not None else None

    def cancel(self) -> None:
        """Stop what is running; it raises in its own thread."""
        self._cancelled.set()
        with self._guard:
            session = self._session
        if session is not None:
            session.cancel()

    def close(self) -> None:
        """Release the board: the agent ends, and with it its lock."""
        with self._guard:
            session, self._session = self._session, None
            transport, self._transport = self._transport, None
            self._open, self._model = None, None
        if session is not None:
            with contextlib.suppress(FarmError):
                session.close()
        if transport is not None:
            transport.close()

    def _named(self, name: str) -> AbstractContextManager[None]:
        whole = self.address.asked or self.address.deadlines
        return named(name, getattr(self.address.deadlines, name), getattr(whole, name))

    def _connected(self) -> tuple[Transport, AgentSession]:
        with self._guard:
            transport, session = self._transport, self._session
        if self._cancelled.is_set():
            raise TransientError(f"{self.address.name}: stopped")
        if transport is None or session is None:
            raise TransientError(f"{self.address.name}: not connected", "`farm resume` reconnects")
        return transport, session

    def _is_held(self, transport: Transport, program: str) -> bool:
        from orchestrator.fleet.transport.commands import json_answer, python_command

        words = [program, "who", "--workdir", self._workdir, "--lock", self.address.lock]
        try:
            asked = python_command(self.address.python, *words)
            answer = transport.run(asked, timeout_s=self.address.deadlines.command_s)
        except FarmError:
            return False
        return answer.status == 0 and bool(json_answer(answer.stdout))


def make_transport(address: Address) -> Transport:
    """The transport that an address asks for, not yet connected."""
    if address.transport == "local":
        from orchestrator.fleet.transport.local import LocalTransport

        return LocalTransport(address.name)
    if address.key_file is not None:
        key: Path | None = Path(address.key_file).expanduser()
    else:
        key = None
    from orchestrator.fleet.transport.ssh import SshTransport

    return SshTransport(
        address.name,
        host=address.host,
        port=address.port,
        user=address.user or getpass.getuser(),
        key_file=key,
        host_key=address.host_key,
        jump=address.jump,
    )


def preprocessing_of(artifact: Artifact) -> Preprocessing:
    """How raw images become an artifact's input, as the agent is told."""
    from orchestrator.fleet.session.client import Preprocessing

    return Preprocessing.from_meta(artifact.preprocessing)
