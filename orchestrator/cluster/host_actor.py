"""Host actors: a few threaded Ray actors hold the sessions of many boards, called once a stage.

One actor a board would cost 39 MB each; boards are not Ray resources, since a node's resources
cannot change while boards come and go.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from orchestrator.cluster.interfaces import BoardMessage, Deployed, ImageFile
from orchestrator.cluster.remote_images import Sent, SentRows, file_name
from orchestrator.data.features import Features
from orchestrator.data.progress import Progress
from orchestrator.errors import (
    BoardError,
    FarmError,
    ToolchainError,
    TransientError,
    UserError,
)
from orchestrator.fleet.boards.board import (
    Address,
    Artifact,
    BoardBusy,
    BoardLink,
    Untrusted,
)
from orchestrator.fleet.boards.recovery import Rung, climb
from orchestrator.fleet.session.types import Building, ModelFacts, SensorSample
from orchestrator.fleet.transport.known_keys import ChangedHostKey
from orchestrator.specs.inventory import Board
from orchestrator.specs.runtimes import runtime

if TYPE_CHECKING:
    from orchestrator.fleet.session.image_cache import Offer

BOARDS_PER_HOST = 20
PROGRESS_S = 0.25
FEATURES_AT_ONCE = 256
N = TypeVar("N")
R = TypeVar("R")


class HostActor:
    """Boards of one site. Wrapped into a Ray actor by `actor_class`.

    Args:
        folder: the run's working directory; empty on another host than the driver's.
    """

    def __init__(self, folder: str = "") -> None:
        if folder:
            os.chdir(folder)
        self._links: dict[str, BoardLink] = {}
        self._guard = threading.Lock()

    def connect(
        self, address: Address, board: Board, runtimes: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Connect a board (again), and prove `runtimes` there by a tiny real inference.

        Returns:
            its agent's facts as plain values; with `runtimes`, `check` has what was found.
        """
        with self._guard:
            old = self._links.pop(address.name, None)
            link = BoardLink(address)
            self._links[address.name] = link
        if old is not None:
            old.close()
        try:
            if not runtimes:
                return dataclasses.asdict(link.connect())
            from orchestrator.fleet.boards.health import lease

            health = lease(board, link, runtimes)
            if health.state != "ready" and any(p.tried and not p.proved for p in health.proofs):
                link.close()
            check = {"entry": health.entry(board, address.owner), "hint": health.hint}
            return {**dataclasses.asdict(cast(Any, health.facts)), "check": check}
        except BaseException as error:
            link.close()
            if isinstance(error, FarmError):
                raise portable(error) from error
            raise

    def deploy(self, board: str, artifact: Artifact, data: bytes) -> Iterator[BoardMessage]:
        """See `BoardCalls.deploy`."""
        link = self._link(board)
        call: _Call[int, bool] = _Call(lambda send: link.deploy(artifact, data, send))
        for sent in call.messages():
            yield Progress(sent, len(data))
        there = call.result()
        if runtime(artifact.runtime).builds:
            yield from _opened(link, artifact)
        yield Deployed(there)

    def measure(
        self,
        board: str,
        artifact: Artifact,
        images: ImageFile | Sent,
        policy: Mapping[str, Any],
        sensors: Mapping[str, Sequence[str]],
    ) -> Iterator[BoardMessage]:
        """See `BoardCalls.measure`."""
        link = self._link(board)
        yield from _opened(link, artifact)
        every = _Every(PROGRESS_S)
        for item in link.measure(_read(images), policy, sensors):
            if not isinstance(item, Progress) or every.due():
                yield item
        if link.measured is not None:
            yield link.measured

    def extract(
        self, board: str, artifact: Artifact, images: ImageFile | Sent, chunk: int
    ) -> Iterator[BoardMessage]:
        """See `BoardCalls.extract`; features come `FEATURES_AT_ONCE` rows at a time."""
        link = self._link(board)
        yield from _opened(link, artifact)
        every = _Every(PROGRESS_S)
        total = sum(stop - start for start, stop in images.ranges)
        done = 0
        for start, stop in images.ranges:
            held: list[Features] = []
            rows = _rows(images, start, stop)
            for block in link.extract(rows, chunk, functools.partial(_offer, images, rows)):
                held.append(block)
                done += len(block.rows)
                if sum(len(each.rows) for each in held) >= FEATURES_AT_ONCE:
                    yield Features.joined(held).moved(start)
                    held = []
                if every.due():
                    yield Progress(done, total)
                    yield SensorSample(link.telemetry())
            if held:
                yield Features.joined(held).moved(start)
        yield Progress(done, total)

    def recover(self, board: Board, rung: Rung, address: Address | None) -> str:
        """Reboot a board or cycle its power; what went wrong in words."""
        return climb(board, rung, address, threading.Event())

    def cancel(self, board: str) -> None:
        """Stop what the board is doing; its call raises."""
        with self._guard:
            link = self._links.get(board)
        if link is not None:
            link.cancel()

    def close(self, board: str | None = None) -> None:
        """Release a board, or all."""
        with self._guard:
            names = list(self._links) if board is None else [board]
            links = [self._links.pop(name) for name in names if name in self._links]
        threads = [threading.Thread(target=link.close, daemon=True) for link in links]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3.0)

    def _link(self, board: str) -> BoardLink:
        with self._guard:
            link = self._links.get(board)
        if link is None:
            raise TransientError(f"{board}: not connected")
        return link


def boards_per_host(boards: int, cpus: int) -> int:
    """How many boards an actor takes: of many boards, no more actors than processors run.

    An actor costs some 100 MB, and two on one processor do no more than one.
    """
    return max(BOARDS_PER_HOST, -(-boards // max(2, cpus)))


def actor_class(boards: int = BOARDS_PER_HOST) -> Any:
    """HostActor as a Ray actor: many calls at once, `cancel` and `close` never behind them.

    Args:
        boards: how many it takes.
    """
    import ray

    streaming = {"concurrency_group": "work", "num_returns": "streaming"}

    class Host(HostActor):
        connect = ray.method(concurrency_group="work")(HostActor.connect)
        recover = ray.method(concurrency_group="work")(HostActor.recover)
        deploy = ray.method(**streaming)(HostActor.deploy)
        measure = ray.method(**streaming)(HostActor.measure)
        extract = ray.method(**streaming)(HostActor.extract)
        cancel = ray.method(concurrency_group="control")(HostActor.cancel)
        close = ray.method(concurrency_group="control")(HostActor.close)

    groups = {"work": 2 * boards, "control": 4}
    return ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0, concurrency_groups=groups)(
        Host
    )


def portable(error: FarmError) -> FarmError:
    """An error as it can travel between processes: one of those the driver knows, with its words.

    An exception whose class takes other arguments cannot be unpickled, and would arrive as a dead
    worker instead of as what it is.
    """
    if isinstance(error, ChangedHostKey):
        return Untrusted(error.message, error.hint)
    for kind in (BoardBusy, Untrusted, UserError, TransientError, BoardError, ToolchainError):
        if isinstance(error, kind):
            return kind(error.message, error.hint)
    return FarmError(error.message, error.hint)


def _rows(images: ImageFile | Sent, start: int, stop: int) -> _Rows | SentRows:
    if isinstance(images, Sent):
        return SentRows(images, start, stop)
    return _Rows(np.load(images.path, mmap_mode="r", allow_pickle=False), start, stop)


class _Rows:
    """Rows of a memory map, numbered from 0, as the session wants to read them."""

    def __init__(self, data: NDArray[np.uint8], start: int, stop: int) -> None:
        self._data, self.start, self.stop = data, start, stop
        self.image_bytes = int(np.prod(data.shape[1:]))

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self, start: int, count: int) -> NDArray[np.uint8]:
        first = self.start + start
        return np.ascontiguousarray(self._data[first : min(first + count, self.stop)])


def _offer(images: ImageFile | Sent, rows: _Rows | SentRows) -> Offer:
    """What is to stay on boards of a part of a file; hashed once for all encoders."""
    name = images.name if isinstance(images, Sent) else file_name(images.path)
    key = (name, rows.start, rows.stop)
    if key not in _offers:
        from orchestrator.fleet.session.image_cache import offer

        while len(_offers) >= _MOST_OFFERS:
            _offers.pop(next(iter(_offers)), None)
        _offers[key] = offer(rows, rows.start, rows.image_bytes)
    return _offers[key]


_MOST_OFFERS = 64
_offers: dict[tuple[str, int, int], Offer] = {}


class _Every:
    def __init__(self, seconds: float) -> None:
        self._seconds, self._next = seconds, 0.0

    def due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


def _read(images: ImageFile | Sent) -> NDArray[np.uint8]:
    parts = (_rows(images, start, stop) for start, stop in images.ranges)
    return np.concatenate([rows.read(0, len(rows)) for rows in parts])


class _Call(Generic[N, R]):
    """A call in a thread of its own; what it tells is passed on a few times a second."""

    def __init__(self, work: Callable[[Callable[[N], None]], R]) -> None:
        self._messages: queue.SimpleQueue[N] = queue.SimpleQueue()
        self._result: list[R] = []
        self._error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._result.append(self._work(self._messages.put))
        except BaseException as error:
            self._error = error

    def messages(self) -> Iterator[N]:
        """The latest word, again and again, until the call has ended."""
        self._thread.start()
        while self._thread.is_alive():
            self._thread.join(PROGRESS_S)
            last: list[N] = []
            with contextlib.suppress(queue.Empty):
                while True:
                    last = [self._messages.get_nowait()]
            if last:  # no `yield from`: Ray sends values into its generators, lists take none
                yield last[0]

    def result(self) -> R:
        """What it returned; raises what it raised."""
        if isinstance(self._error, FarmError):
            raise portable(self._error)
        if self._error is not None:
            raise self._error
        return self._result[0]


def _opened(link: BoardLink, artifact: Artifact) -> Iterator[Building | ModelFacts]:
    """Open an artifact, passing on what the board builds first."""
    call: _Call[Building, ModelFacts] = _Call(lambda send: link.open(artifact, send))
    yield from call.messages()
    yield call.result()
