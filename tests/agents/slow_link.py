"""A channel over a link with a round trip and a rate, in user space."""

from __future__ import annotations

import threading
import time
from collections import deque

from orchestrator.errors import TransientError


class _Direction:
    """Bytes on their way: sent at `rate` bytes a second, arriving `delay_s` after they were sent.

    At most `buffer` bytes wait to be sent, as in a socket.
    """

    def __init__(self, deliver, rate: float, delay_s: float, buffer: int) -> None:
        self._deliver, self._rate, self._delay_s, self._buffer = deliver, rate, delay_s, buffer
        self._changed = threading.Condition()
        self._queue: deque[tuple[float, float, bytes]] = deque()
        self._free = 0.0
        self._over = False
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, data: bytes) -> None:
        for start in range(0, len(data), 4096):
            self._put(data[start : start + 4096])

    def _put(self, piece: bytes) -> None:
        with self._changed:
            while not self._over and self._free - time.monotonic() > self._buffer / self._rate:
                self._changed.wait(0.002)
            if self._over:
                raise TransientError("the link is gone")
            self._free = max(self._free, time.monotonic()) + len(piece) / self._rate
            self._queue.append((self._free + self._delay_s, self._free, piece))
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._over:
                    self._changed.wait()
                if self._over:
                    return
                due, _, piece = self._queue.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                self._deliver(piece)
            except TransientError:
                self.end()


class SlowLink:
    """`inner` behind a link of `rtt_s` and `mbit_s`."""

    def __init__(self, inner, rtt_s: float, mbit_s: float, buffer: int = 64 << 10) -> None:
        self._inner = inner
        self._arrived: deque[bytes] = deque()
        self._changed = threading.Condition()
        rate = mbit_s * 1e6 / 8
        self._up = _Direction(inner.write, rate, rtt_s / 2, buffer)
        self._down = _Direction(self._arrive, rate, rtt_s / 2, buffer)
        threading.Thread(target=self._read_inner, daemon=True).start()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def _arrive(self, piece: bytes) -> None:
        with self._changed:
            self._arrived.append(piece)
            self._changed.notify()

    def _read_inner(self) -> None:
        while data := self._inner.read(1 << 16):
            self._down.put(data)
        while self._down._queue:
            time.sleep(0.01)
        self._arrive(b"")

    def read(self, limit: int) -> bytes:
        with self._changed:
            while not self._arrived:
                self._changed.wait()
            piece = self._arrived.popleft()
            if len(piece) > limit:
                self._arrived.appendleft(piece[limit:])
            return piece[:limit]

    def write(self, data) -> None:
        self._up.put(bytes(data))

    def close(self) -> None:
        self._inner.close()
        self._up.end()
        self._down.end()
        self._arrive(b"")
