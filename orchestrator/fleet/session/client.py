"""The head's side of a session with one board's agent: open a model, time it, make features."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.agents.protocol.wire import (
    DONE,
    ERROR,
    EXTRACT,
    FACTS,
    FEATURES,
    IMAGES,
    MAX_PAYLOAD,
    MEASURE,
    OPEN,
    PROGRESS,
    PROTOCOL,
    Frame,
    WireError,
    number,
)
from orchestrator.data.features import Features
from orchestrator.data.progress import Progress
from orchestrator.data.times import RawTimes
from orchestrator.errors import (
    BoardError,
    FarmError,
    ToolchainError,
    TransientError,
    UserError,
)
from orchestrator.fleet.session.image_cache import DAMAGED, Damaged, Offer, Rest, missing
from orchestrator.fleet.session.images import Sender, features
from orchestrator.fleet.session.link import SessionLink
from orchestrator.fleet.session.times import measure_facts, times_and_samples
from orchestrator.fleet.session.types import (
    AgentBug,
    AgentFacts,
    Building,
    Cancelled,
    ExtractFacts,
    ImageSource,
    MeasureFacts,
    MeasurePolicy,
    ModelFacts,
    Preprocessing,
    RuntimeFacts,
    SensorSample,
    TensorFacts,
    clean_mapping,
    clean_text,
    runtimes_from,
    whole,
)
from orchestrator.fleet.transport.channel import Channel
from orchestrator.fleet.transport.deadline import Deadline, Hung

__all__ = [
    "AgentBug",
    "AgentFacts",
    "AgentSession",
    "Building",
    "Cancelled",
    "ExtractFacts",
    "ImageSource",
    "MeasureFacts",
    "MeasurePolicy",
    "ModelFacts",
    "Preprocessing",
    "RuntimeFacts",
    "SensorSample",
    "TensorFacts",
]

_ERRORS: Mapping[str, type[FarmError]] = {
    "user": UserError,
    "transient": TransientError,
    "board": BoardError,
    "toolchain": ToolchainError,
    "bug": AgentBug,
}
# The agent notices a hanging runtime first, so that the board's own words reach the user.
_GRACE_S = 5.0
# Each attempt finds other kept images damaged; the last one does without any.
_DAMAGED_ATTEMPTS = 5


class AgentSession:
    """One agent on one board, from its first word to its end. Jobs run one at a time.

    Jobs are called from one thread at a time; `cancel`, `close` and `telemetry` from any.

    Args:
        channel: stdin and stdout of a running agent.
        board: its name, for messages.
        heartbeat_s: how often each side tells that it lives.
        dead_after_s: silence after which the board is given up.
        start_timeout_s: how long the agent may take to say its first word.

    Attributes:
        measurement, extraction: how the last such job went, None before its end.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        board: str,
        heartbeat_s: float = 2.0,
        dead_after_s: float = 10.0,
        start_timeout_s: float = 20.0,
    ) -> None:
        self._board = board
        self._start_timeout_s = start_timeout_s
        self._link = SessionLink(channel, board, heartbeat_s, dead_after_s)
        self._open: dict[str, Any] | None = None
        self._open_timeout_s = self._build_s = 0.0
        self._on_building: Callable[[Building], None] | None = None
        self._model: ModelFacts | None = None
        self._image_shape: tuple[int, int, int] = (0, 0, 3)
        self.measurement: MeasureFacts | None = None
        self.extraction: ExtractFacts | None = None

    def hello(self) -> AgentFacts:
        """Wait for the agent's first word and answer it. To be called first, once.

        Raises:
            TransientError: it did not come in time, somebody else uses the board, or the channel
                died; with the last lines of stderr.
            BoardError: the agent cannot start there, or speaks another protocol.
        """
        self._link.start()
        try:
            frame = self._link.receive(self._start_timeout_s, "waiting for its agent")
        except TransientError as error:
            self._link.fail(error)
            raise
        if frame.type == ERROR:
            refusal = self._error(frame)
            self._link.fail(refusal)
            raise refusal
        if frame.meta.get("protocol") != PROTOCOL:
            problem = BoardError(
                f"{self._board}: its agent speaks protocol"
                f" {clean_text(frame.meta.get('protocol'))}, expected {PROTOCOL}"
            )
            self._link.fail(problem)
            raise problem
        self._link.telemetry = clean_mapping(frame.meta.get("telemetry"))
        self._link.greet()
        return AgentFacts.from_meta(frame.meta)

    def runtimes(self, *, timeout_s: float = 60.0) -> Mapping[str, RuntimeFacts]:
        """The board's runtimes, loaded there to learn their providers; closes the open model."""
        self._open = self._model = None
        frame = self._only_answer(FACTS, {}, timeout_s, "asking for runtimes")
        return runtimes_from(frame.meta.get("runtimes"))

    def open_model(
        self,
        *,
        runtime: str,
        artifact: str,
        sha256: str,
        options: Mapping[str, Any],
        preprocessing: Preprocessing,
        timeout_s: float,
        build_s: float = 0.0,
        on_building: Callable[[Building], None] | None = None,
    ) -> ModelFacts:
        """Load an artifact into a fresh runtime process; the open model before it is closed.

        Args:
            runtime: its name on the agent's side: `onnxruntime`, `timed`, ...
            artifact: path on the board.
            sha256: of the artifact, verified there.
            options: for the runtime; see its file in `agents/runtimes`.
            preprocessing: how raw images become its input.
            timeout_s: how long the runtime may not answer.
            build_s: how long, beyond that, it may build what it runs while it tells of it.
            on_building: called with what it tells.

        Raises:
            TransientError: the artifact is missing or damaged on the board, or the runtime crashed.
            BoardError: the runtime or a provider is missing, or it hangs.
            ToolchainError: the runtime refuses the artifact.
            UserError: model and preprocessing do not fit; names both shapes.
        """
        self._open = {
            "runtime": runtime,
            "artifact": artifact,
            "sha256": sha256,
            "options": dict(options),
            "preprocessing": preprocessing.to_meta(),
        }
        self._open_timeout_s, self._build_s, self._on_building = timeout_s, build_s, on_building
        self._image_shape = (preprocessing.height, preprocessing.width, 3)
        return self._open_again()

    def measure(
        self,
        images: NDArray[np.uint8],
        policy: MeasurePolicy,
        *,
        timeout_s: float,
        sensors: Mapping[str, Sequence[str]] | None = None,
    ) -> Iterator[Progress | RawTimes | SensorSample]:
        """Time single inferences on the board.

        Args:
            images: uint8 (n, height, width, 3), RGB; cycled. Those that do not fit 16 MiB are left
                out.
            policy: how, and when it ends.
            timeout_s: for all of it.
            sensors: `zones` that count as the board's temperature, files with more `clocks`.

        Yields:
            times and sensors as they come, and how far it is. Warm-up runs are not among them.

        Raises:
            UserError: the images have another shape than the model's input, or the clocks may not
                be pinned.
            Cancelled, TransientError, BoardError: as named.
        """
        model = self._ready()
        self._check_images(images, images.shape[:1] or (0,))
        if not len(images):
            raise UserError("no images to measure with, expected at least one")
        few = np.ascontiguousarray(images[: max(1, MAX_PAYLOAD // int(images[0].nbytes))])
        meta = {"images": len(few), "limit_s": timeout_s, **asdict(policy)}
        meta["sensors"] = {name: list(each) for name, each in (sensors or {}).items()}
        self.measurement = None
        doing = f"measuring with {model.runtime}"
        job = self._link.begin(MEASURE, meta)
        transfer: dict[str, Any] = {}
        try:
            deadline = Deadline(timeout_s + _GRACE_S)
            ready = self._receive(deadline.remaining(), doing)
            with self._strict():
                number(ready.meta, "window", few.nbytes, 1 << 30)
            part = {"start": 0, "count": len(few)}
            began = time.monotonic()
            self._link.send_images(Frame(IMAGES, job, part, few.data.cast("B")))
            while True:
                frame = self._receive(deadline.remaining(), doing)
                if frame.type == DONE:
                    self.measurement = measure_facts(frame.meta, transfer)
                    return
                with self._strict():
                    messages = times_and_samples(frame)
                if not transfer:  # the first word after the images says that they are there
                    spent = max(0.0, time.monotonic() - began - self._link.rtt_s)
                    transfer = {"images": len(few), "bytes": few.nbytes, "seconds": spent}
                    transfer["rtt_s"] = self._link.rtt_s
                for each in messages:
                    if isinstance(each, SensorSample):
                        self._link.telemetry = each.values
                    yield each
        finally:
            self._link.abandon(job)

    def extract(
        self,
        images: ImageSource,
        *,
        chunk: int = 64,
        timeout_s: float,
        keep: Offer | None = None,
        at_a_time: int = 1,
    ) -> Iterator[Features]:
        """Make features of images, which stream to the board while features stream back.

        Args:
            images: read in order by a thread of its own, `chunk` at a time.
            chunk: images read, and at most sent, at once.
            timeout_s: how long nothing may come back.
            keep: from `session_kept.offer`: the images stay on the board, and those that are there
                already are not sent.
            at_a_time: images that may be computed at a time, where the runtime can do that.

        Yields:
            blocks in order, without gaps.

        Raises:
            UserError: the images have another shape than the model's input.
            Cancelled, TransientError, BoardError: as named; blocks yielded before stay good.
        """
        if keep is None or not len(images):
            yield from self._extract(images, chunk, timeout_s, None, at_a_time)
            return
        done = 0
        for attempt in range(_DAMAGED_ATTEMPTS):
            rest, offered = Rest(images, done), keep.after(done, len(images))
            last = attempt == _DAMAGED_ATTEMPTS - 1
            try:
                before, keeping = done, None if last else offered
                for block in self._extract(rest, chunk, timeout_s, keeping, at_a_time):
                    done = before + block.stop
                    yield block.moved(before)
                return
            except Damaged:
                if last:
                    raise

    def _extract(
        self,
        images: ImageSource,
        chunk: int,
        timeout_s: float,
        keep: Offer | None,
        at_a_time: int,
    ) -> Iterator[Features]:
        model = self._ready()
        total = len(images)
        doing = f"extracting with {model.runtime}"
        self.extraction = None
        meta = {"count": total, "limit_s": timeout_s, **(keep.meta if keep else {})}
        meta |= {"at_a_time": at_a_time} if at_a_time > 1 else {}
        job = self._link.begin(EXTRACT, meta, keep.payload if keep else b"")
        sender: Sender | None = None
        try:
            done = 0
            while True:
                frame = self._receive(timeout_s + _GRACE_S, doing, sender)
                if frame.type == DONE:
                    if done != total:
                        with self._strict():
                            raise WireError(f"{done} features of {total} images")
                    self.extraction = _extract_facts(frame.meta)
                    return
                if frame.type == FEATURES:
                    with self._strict():
                        block = features(frame, done, total, model.dim)
                    done += len(block.rows)
                    assert sender is not None
                    sender.taken(done)
                    yield block
                else:  # READY, of which the conversation lets only one through
                    with self._strict():
                        number(frame.meta, "window", int(np.prod(self._image_shape)), 1 << 30)
                        runs = missing(frame, keep, total)
                    sender = Sender(self._link, job, images, chunk, self._check_images, runs)
                    sender.start(int(np.prod(self._image_shape)))
        finally:
            if sender is not None:
                sender.stop()
            self._link.abandon(job)
            if sender is not None:
                sender.join()

    @property
    def noise(self) -> str:
        """What came between the agent's frames, quoted; empty when there was nothing."""
        return self._link.noise

    def telemetry(self) -> Mapping[str, Any]:
        """The sensors as the latest heartbeat told them: `temperature_c`, `clock_mhz`, ..."""
        return self._link.telemetry

    def cancel(self) -> None:
        """Stop the running job: its caller gets Cancelled. Nothing happens when none runs."""
        self._link.cancel()

    def close(self, timeout_s: float = 2.0) -> None:
        """End the agent and the channel. Without effect the second time."""
        self._link.close(timeout_s)

    # ---- shared by the jobs

    def _ready(self) -> ModelFacts:
        if self._link.model_lost and self._open is not None:
            # The runtime's process died in an earlier job; the session outlives it.
            return self._open_again()
        if self._model is None:
            raise TransientError(f"{self._board}: no model is open")
        return self._model

    def _open_again(self) -> ModelFacts:
        assert self._open is not None
        self._model = None
        doing = f"opening {clean_text(self._open['artifact'])}"
        frame = self._only_answer(OPEN, self._open, self._open_timeout_s, doing, self._build_s)
        with self._strict():
            try:
                self._model = ModelFacts.from_meta(frame.meta)
            except ValueError as error:
                raise WireError(str(error)) from error
        self._link.model_lost = False
        assert self._model is not None
        return self._model

    def _only_answer(
        self,
        kind: int,
        meta: Mapping[str, Any],
        timeout_s: float,
        doing: str,
        build_s: float = 0.0,
    ) -> Frame:
        job = self._link.begin(kind, {**meta, "limit_s": timeout_s})
        deadline = Deadline(timeout_s + build_s + _GRACE_S)
        try:
            while True:
                frame = self._receive(deadline.remaining(), doing)
                if frame.type != PROGRESS:
                    return frame
                if self._on_building is not None:
                    self._on_building(Building.from_meta(frame.meta))
        finally:
            self._link.abandon(job)

    def _receive(self, timeout_s: float, doing: str, sender: Sender | None = None) -> Frame:
        try:
            frame = self._link.receive(timeout_s, doing)
        except Cancelled:
            # The sender stops a job whose images cannot be read.
            if sender is not None and sender.error is not None:
                raise sender.error from None
            raise
        if frame.type != ERROR:
            return frame
        if frame.meta.get("model_lost"):
            self._model = None
        raise self._error(frame)

    def _error(self, frame: Frame) -> FarmError:
        text = clean_text(frame.meta.get("message", ""))
        message = text if text.startswith(self._board) else f"{self._board}: {text}"
        lines = frame.meta.get("stderr")
        words = [clean_text(line) for line in lines[-40:]] if isinstance(lines, list) else []
        kinds = {"cancelled": Cancelled, DAMAGED: Damaged, "hang": Hung}
        kind = kinds.get(str(frame.meta.get("code"))) or _ERRORS.get(str(frame.meta.get("class")))
        return (kind or AgentBug)(message, last_words=" | ".join(words))

    def _check_images(self, images: Any, count: tuple[int, ...]) -> None:
        expected = (*count, *self._image_shape)
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            found = getattr(images, "dtype", type(images).__name__)
            raise UserError(f"images are {found}, expected uint8")
        if images.shape != expected:
            raise UserError(
                f"images have the shape {images.shape}, expected {expected}",
                "the model's manifest says the size of its input",
            )

    def _strict(self) -> _Strict:
        return _Strict(self._link, self._board)


class _Strict:
    """Turns a rule broken by the agent into the end of the session."""

    def __init__(self, link: SessionLink, board: str) -> None:
        self._link, self._board = link, board

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, WireError):
            problem = TransientError(f"{self._board}: the agent broke the protocol: {error}")
            self._link.fail(problem)
            raise problem from error


def _extract_facts(meta: Mapping[str, Any]) -> ExtractFacts:
    names = ("images", "failed", "run_ns", "span_ns")
    return ExtractFacts(**{name: whole(meta.get(name)) for name in names})
