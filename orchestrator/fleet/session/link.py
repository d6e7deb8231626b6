"""Frames to and from an agent: who reads, who waits, and who wakes whom when the board dies."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.agents.protocol.wire import (
    BEAT,
    CANCEL,
    CLOSE,
    ERROR,
    FEATURES,
    HELLO,
    MAX_JOB,
    Conversation,
    Decoder,
    Frame,
    WireError,
    join,
)
from orchestrator.errors import BoardError, FarmError, TransientError
from orchestrator.fleet.session.flow import Flow
from orchestrator.fleet.session.types import Cancelled, clean_mapping
from orchestrator.fleet.transport.channel import Channel
from orchestrator.fleet.transport.deadline import Expired, longer
from orchestrator.fleet.transport.untrusted import one_line, quote

READ = 1 << 18
INBOX_BYTES = 64 << 20
_WRITE_WAIT_S = 1.0
_LAST_WORD_S = 1.0
_LOOK_S = 0.25
_NO_SUCH_COMMAND = (126, 127)


class _Inbox:
    """Frames that nobody has fetched yet, and what they cost in memory."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def fill(self) -> int:
        """Bytes."""
        return self._bytes

    def put(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._bytes += frame.cost

    def fetch(self) -> Frame:
        frame = self._frames.popleft()
        self._bytes -= frame.cost
        return frame

    def clear(self) -> None:
        self._frames.clear()
        self._bytes = 0


class _Pulse:
    """When the agent was heard last, and how far away it is.

    Attributes:
        heartbeat_s: between two heartbeats.
        dead_after_s: of silence.
        heard: when something came last, on the monotonic clock.
        rtt_s: the shortest round trip seen; 0 before the first.
    """

    def __init__(self, heartbeat_s: float, dead_after_s: float) -> None:
        self.heartbeat_s, self.dead_after_s = heartbeat_s, dead_after_s
        self.heard = time.monotonic()
        self.rtt_s = 0.0

    def beat(self) -> None:
        """Something came."""
        self.heard = time.monotonic()

    def echoed(self, sent: object) -> None:
        """A heartbeat came back; it was sent at that time if the agent says a number."""
        if isinstance(sent, (int, float)) and not isinstance(sent, bool):
            rtt = max(0.0, time.monotonic() - sent)
            self.rtt_s = min(self.rtt_s, rtt) if self.rtt_s else rtt


@dataclass
class _Job:
    """The latest job: its number, whether whoever waits in it is to stop, its images' window."""

    number: int
    cancelled: bool = False
    flow: Flow | None = None


class SessionLink:
    """One thread reads frames, one sends heartbeats; callers wait on one condition.

    Whatever ends the link (`fail`) closes the channel and wakes everyone who waits: for a frame,
    for credit or to write. All methods may be called from any thread.

    Attributes:
        telemetry: the sensors as the latest heartbeat told them.
        model_lost: the runtime's process has ended, perhaps in a job that nobody waits for.
    """

    def __init__(
        self, channel: Channel, board: str, heartbeat_s: float, dead_after_s: float
    ) -> None:
        self.board = board
        self.model_lost = False
        self.telemetry: Mapping[str, Any] = {}
        self._channel = channel
        self._pulse = _Pulse(heartbeat_s, dead_after_s)
        self._talk = Conversation(is_agent=False)
        self._decoder = Decoder(skip_noise=True)
        self._changed = threading.Condition()
        self._write_lock = threading.Lock()
        self._inbox = _Inbox()
        self._error: FarmError | None = None
        self._closing = False
        self._job = _Job(0)
        self._reader = self._thread(self._read, "reader")
        self._beater = self._thread(self._beat, "heartbeat")

    @property
    def rtt_s(self) -> float:
        """The shortest round trip seen; 0 before the first."""
        return self._pulse.rtt_s

    @property
    def noise(self) -> str:
        """What came that was no frame, quoted; empty when there was nothing."""
        decoder = self._decoder
        return quote(decoder.noise, total=decoder.skipped) if decoder.skipped else ""

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    def greet(self) -> None:
        """Answer the agent's HELLO and keep it told that somebody is here."""
        self._pulse.beat()
        self.send(Frame(HELLO, 0, {"heartbeat_s": self._pulse.heartbeat_s}))
        self._beater.start()

    # ---- jobs

    def begin(self, kind: int, meta: Mapping[str, Any], payload: bytes = b"") -> int:
        """Start a job and return its number.

        Raises:
            FarmError: the link is dead.
        """
        with self._changed:
            self._check()
            job = self._job.number % MAX_JOB + 1
            self._job = _Job(job)
            self._inbox.clear()
        self.send(Frame(kind, job, meta, payload))
        return job

    def running(self, job: int) -> bool:
        """Whether the job has not ended, nor the link."""
        with self._changed:
            return self._error is None and self._talk.job == job

    def use_flow(self, image_bytes: int) -> Flow:
        """Bound the running job's images by the agent's window and what the link needs."""
        with self._changed:
            self._job.flow = flow = Flow(self._talk.window, image_bytes, self.rtt_s)
            return flow

    def cancel(self) -> None:
        """Make whoever waits within a job raise Cancelled. Never blocks."""
        with self._changed:
            if self._talk.job:
                self._job.cancelled = True
                self._changed.notify_all()

    def abandon(self, job: int, wait_s: float = 2.5) -> None:
        """Have the agent stop a job and wait for its word; without that the link is given up."""
        end = time.monotonic() + wait_s
        with contextlib.suppress(FarmError):
            if self.running(job):
                self.send(Frame(CANCEL, job), wait_s=_WRITE_WAIT_S)
            with self._changed:
                while self._error is None and self._talk.job == job:
                    left = end - time.monotonic()
                    if left <= 0:
                        break
                    self._inbox.clear()
                    self._changed.notify_all()
                    self._changed.wait(min(left, 0.2))
                else:
                    return
            self.fail(TransientError(f"{self.board}: the agent does not stop its job"))

    def receive(self, timeout_s: float, doing: str) -> Frame:
        """The next frame of the session's start or of the running job.

        Raises:
            Cancelled: `cancel` was called.
            TransientError: nothing came in time, the agent is silent or the channel is dead.
        """
        end = time.monotonic() + timeout_s
        with self._changed:
            while not self._inbox:
                self._check()
                if self._job.cancelled:
                    raise Cancelled(f"{self.board}: stopped while {doing}")
                now = time.monotonic()
                if now >= end:
                    raise Expired(
                        f"{self.board}: no word for {timeout_s:.1f} s while {doing}",
                        last_words=self._last_words(),
                    )
                self._check_silence(now)
                self._changed.wait(min(end - now, max(0.05, self._pulse.dead_after_s / 4)))
            if self._job.cancelled:
                raise Cancelled(f"{self.board}: stopped while {doing}")
            frame = self._inbox.fetch()
            self._changed.notify_all()
            return frame

    # ---- writing

    def send(self, frame: Frame, wait_s: float = -1) -> None:
        """Write a frame.

        Args:
            wait_s: give the link up when another writer is stuck for longer; -1 waits as long as
                the link lives.

        Raises:
            FarmError: the link is dead.
        """
        self._acquire(wait_s)
        try:
            with self._changed:
                self._check()
                self._talk.sending(frame)
            self._write(frame)
        except WireError as error:
            self.fail(TransientError(f"{self.board}: {error}"))
            raise self._dead() from error
        finally:
            self._write_lock.release()

    def _acquire(self, wait_s: float) -> None:
        end = time.monotonic() + wait_s if wait_s >= 0 else float("inf")
        while not self._write_lock.acquire(timeout=_LOOK_S):
            now = time.monotonic()
            if now >= end:
                self.fail(TransientError(f"{self.board}: the link is stuck"))
            with self._changed:
                self._check()
                self._check_silence(now)

    def send_images(self, frame: Frame) -> bool:
        """Write a frame of images as soon as there is credit; False when its job has ended.

        Raises:
            FarmError: the agent is silent.
        """
        size = len(frame.payload)
        with self._changed:
            while self._wants(frame):
                limit = self._job.flow.limit if self._job.flow else self._talk.window
                if self._talk.flying + size <= max(limit, min(size, self._talk.window)):
                    break
                self._check_silence(time.monotonic())
                self._changed.wait(1.0)
        with self._write_lock:
            with self._changed:
                if not self._wants(frame) or self._job.cancelled:
                    return False
                self._talk.sending(frame)
            with contextlib.suppress(FarmError):
                self._write(frame)
                return True
        return False

    def _wants(self, images: Frame) -> bool:
        """Whether the agent still takes a job's images; its last word may wait to be fetched."""
        talk = self._talk
        return self._error is None and not talk.over and talk.job == images.job

    def _write(self, frame: Frame) -> None:
        try:
            self._channel.write(join(frame))
        except FarmError as error:
            # The reader may still find the agent's own word on why it ended.
            with self._changed:
                self._changed.wait_for(lambda: self._error is not None, _LAST_WORD_S)
            self.fail(self._lost(error))
            raise self._dead() from error

    # ---- ends

    def fail(self, error: FarmError) -> None:
        """End the link for a reason; the first one counts. Everyone who waits is woken."""
        with self._changed:
            if self._error is None:
                self._error = error
            self._changed.notify_all()
        with contextlib.suppress(FarmError):
            self._channel.close()

    def close(self, timeout_s: float) -> None:
        """Tell the agent to end, wait for that, close the channel."""
        end = time.monotonic() + timeout_s
        with self._changed:
            self._closing = True
            alive = self._error is None and self._talk.answered
        if alive:
            with contextlib.suppress(FarmError):
                self.send(Frame(CLOSE), wait_s=min(timeout_s, _WRITE_WAIT_S))
                self._reader.join(max(0.0, end - time.monotonic()))
        self.fail(self._closed())
        for thread in (self._reader, self._beater):
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.1, end - time.monotonic()))

    def _check(self) -> None:
        if self._error is not None:
            raise self._dead()

    def _dead(self) -> FarmError:
        """A copy of the link's error, so that two threads do not share one traceback."""
        error = self._error
        assert error is not None
        return type(error)(error.message, error.hint)

    def _check_silence(self, now: float) -> None:
        silent, limit = now - self._pulse.heard, self._pulse.dead_after_s
        if not self._talk.answered:
            return  # an agent starts slower than it works; its first word has its own deadline
        if silent > limit and self._inbox.fill < INBOX_BYTES:
            message = f"{self.board}: the agent has been silent for {silent:.1f} s"
            message += f" (silence_s: {limit:g} s)"
            hint = longer("silence_s", limit)
            self._error = TransientError(message, hint, last_words=self._last_words())
            self._error.deadline = "silence_s"
            self._changed.notify_all()
            # Closing may wait a moment for a stuck link; nobody else has to.
            self._thread(self._channel.close, "closer").start()
            raise self._dead()

    def _closed(self) -> FarmError:
        return TransientError(f"{self.board}: the session is closed")

    def _last_words(self) -> str:
        return one_line(self._channel.stderr_tail(), 500)

    def _lost(self, cause: FarmError | None) -> FarmError:
        status = self._channel.exit_status(1.0)
        if status in _NO_SUCH_COMMAND and not self._talk.greeted:
            return BoardError(
                f"{self.board}: the agent does not start (status {status})",
                last_words=self._last_words(),
            )
        if isinstance(cause, BoardError):
            return cause
        how = f" with status {status}" if status is not None and status >= 0 else ""
        message = f"{self.board}: the agent ended{how}"
        if cause is not None and status is None:
            message = cause.message
        return TransientError(message, last_words=self._last_words())

    # ---- threads

    def _thread(self, target: Any, name: str) -> threading.Thread:
        return threading.Thread(target=target, name=f"{self.board}-{name}", daemon=True)

    def _read(self) -> None:
        decoder = self._decoder
        try:
            while True:
                data = self._channel.read(READ)
                self._pulse.beat()
                if not data:
                    break
                for frame in decoder.feed(data):
                    self._take(frame)
            self.fail(self._closed() if self._closing else self._lost(None))
        except WireError as error:
            self.fail(TransientError(f"{self.board}: {error}", last_words=self._last_words()))
        except FarmError as error:
            self.fail(self._lost(error))
        except Exception as error:
            # An unexpected end must wake the waiting threads like any other.
            self.fail(TransientError(f"{self.board}: {type(error).__name__}: {error}"))

    def _take(self, frame: Frame) -> None:
        with self._changed:
            if not self._talk.receiving(frame):
                return
            if frame.type == BEAT:
                self._heard_beat(frame)
                return
            if frame.type == FEATURES and self._job.flow is not None:
                self._job.flow.returned(int(frame.meta.get("credit", 0)), time.monotonic())
            if frame.type == ERROR and frame.meta.get("model_lost"):
                self.model_lost = True
            self._inbox.put(frame)
            self._changed.notify_all()
            while self._inbox.fill > INBOX_BYTES and self._error is None:
                self._changed.wait(1.0)
        self._pulse.beat()

    def _heard_beat(self, frame: Frame) -> None:
        self._pulse.echoed(frame.meta.get("echo"))
        if "telemetry" in frame.meta:
            self.telemetry = clean_mapping(frame.meta["telemetry"])

    def _beat(self) -> None:
        while True:
            with contextlib.suppress(FarmError):
                # Another thread that is writing tells the agent as much as a beat would. If it is
                # stuck, somebody has to look at the clock.
                if self._write_lock.acquire(blocking=False):
                    self._write_lock.release()
                    self.send(Frame(BEAT, 0, {"t": time.monotonic()}))
                with self._changed:
                    self._check_silence(time.monotonic())
            with self._changed:
                if self._error is not None or self._closing:
                    return
                self._changed.wait_for(
                    lambda: self._error is not None or self._closing, self._pulse.heartbeat_s
                )
