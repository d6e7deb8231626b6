"""What is fuzzed, as functions of bytes: by hypothesis in the fast tests, by atheris for as long as
one likes (fuzz_long.py).

Each raises what must never happen; an AssertionError says that memory was not bounded.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any
from unittest import mock

import numpy as np

from orchestrator.agents.protocol import wire
from orchestrator.agents.protocol.errors import BOARD, AgentError
from orchestrator.agents.protocol.wire import Decoder, Frame, WireError
from orchestrator.agents.session import session as agent_session
from orchestrator.errors import FarmError
from orchestrator.fleet.session import client as head_session
from orchestrator.fleet.session.client import AgentSession, Preprocessing
from orchestrator.fleet.session.image_cache import Offer

LARGEST = wire.HEADER.size + wire.MAX_META + wire.MAX_PAYLOAD
SIDE = 8
_VALUES = (0, 1, 2, 3, 192, 1 << 20, -1, 1 << 40, 0.5, None, "x", True, [], {}, [[0, "bad"]], 1e999)
_KEYS = (
    *("protocol", "heartbeat_s", "limit_s", "t", "echo", "telemetry", "window", "credit", "start"),
    *("count", "failed", "first", "block", "dim", "done", "total", "class", "code", "message"),
    *("stderr", "model_lost", "images", "artifact"),
)
_PAYLOADS = (b"", b"\1", b"\0\1", bytes(16), bytes(32), bytes(64), bytes(192), bytes(4096))


def frames_of(data: bytes) -> bytes:
    """Well-formed frames as the bytes say, and at their end some bytes as they are."""
    made = bytearray()
    at = 0
    while at + 6 <= len(data) and data[at] < 0xF0:
        kind, job, keys, payload = data[at] % 18, data[at + 1] % 4, data[at + 2], data[at + 3]
        meta = {
            _KEYS[(data[at + 4] + i) % len(_KEYS)]: _VALUES[(data[at + 5] + i) % len(_VALUES)]
            for i in range(keys % 4)
        }
        frame = Frame(kind, job, meta, _PAYLOADS[payload % len(_PAYLOADS)])
        made += wire.join(frame)
        at += 6
    return bytes(made) + data[at:]


def decoder(data: bytes) -> None:
    """Any bytes in any split: frames or WireError, and never more held than a frame."""
    noisy, step = len(data) % 2 == 0, 1 + (data[0] if data else 0) * 7
    for stream in (data, frames_of(data)):
        made = Decoder(skip_noise=noisy)
        with contextlib.suppress(WireError):
            for at in range(0, len(stream), step):
                for frame in made.feed(stream[at : at + step]):
                    assert len(frame.payload) <= wire.MAX_PAYLOAD
                assert made.pending <= LARGEST + step


class _Lock:
    """A board's lock that is always there."""

    fds: tuple[int, ...] = ()

    def renew(self) -> None:
        """Nothing to renew."""


def _no_child(self: Any) -> None:
    raise AgentError(BOARD, "no process here")


def agent(data: bytes) -> list[Frame]:
    """A head that says anything and reads nothing until the agent has ended; what it was told."""
    source, head_out = os.pipe()
    head_in, sink = os.pipe()
    with (
        mock.patch.object(agent_session.Session, "_fresh_child", _no_child),
        mock.patch.object(agent_session.facts, "describe", return_value={"protocol": 1}),
        mock.patch.object(agent_session, "CLOSE_S", 0.05),
    ):
        made = agent_session.Session(source, sink, _Lock(), "/nonexistent", "", 5.0)
        os.write(head_out, frames_of(data)[:60_000])
        os.close(head_out)
        try:
            made.run()
            assert made._out.size <= agent_session.OUT_LIMIT + wire.MAX_META
            assert made._decoder.pending <= LARGEST
        finally:
            os.close(source)
            os.close(sink)
    with open(head_in, "rb") as file:
        return list(Decoder().feed(file.read()))


class _Said:
    """A channel that says what it was told to, in pieces, and takes everything."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._closed = threading.Event()

    def read(self, limit: int) -> bytes:
        piece = self._data[self._at : self._at + 700]
        self._at += 700
        return piece

    def write(self, data: bytes | memoryview) -> None:
        if self._closed.is_set():
            raise FarmError("closed")

    def close(self) -> None:
        self._closed.set()

    def stderr_tail(self) -> str:
        return "\x1b[2Jnoise"

    def exit_status(self, timeout_s: float) -> int | None:
        return None


class _Images:
    def __len__(self) -> int:
        return 3

    def read(self, start: int, n: int) -> Any:
        return np.zeros((n, SIDE, SIDE, 3), np.uint8)


def head(data: bytes) -> None:
    """An agent that says anything: the head's calls give what they promise, or farm's errors."""
    hello = wire.join(Frame(wire.HELLO, 0, {"protocol": wire.PROTOCOL}))
    opened = wire.join(Frame(wire.OPENED, 1, {"dim": 4}))
    ready = wire.join(Frame(wire.READY, 2, {"window": 1 << 16}, b"\1\0"[: data[0] % 3]))
    start = (b"", hello, hello + opened, hello + opened + ready)[len(data) % 4]
    made = AgentSession(_Said(start + frames_of(data)), board="liar", start_timeout_s=0.2)
    told = ""
    with mock.patch.object(head_session, "_GRACE_S", 0.0):
        try:
            made.hello()
            made.open_model(
                runtime="timed",
                artifact="x",
                sha256="y",
                options={},
                preprocessing=Preprocessing("NCHW", "RGB", 0.0, 1.0, SIDE, SIDE),
                timeout_s=0.05,
            )
            keep = Offer(0, 2, (bytes([1]) * 32, bytes([2]) * 32)) if data[0] % 2 else None
            blocks = list(made.extract(_Images(), timeout_s=0.05, keep=keep))
            assert sum(len(block.rows) for block in blocks) == 3
        except FarmError as error:
            told = str(error)
        finally:
            made.close(0.05)
    assert all(c.isprintable() or c == "\n" for c in told), told


TARGETS = {"decoder": decoder, "agent": agent, "head": lambda data: head(data or b"\0")}
