"""A bad network in user space: a TCP relay that delays, throttles, cuts, stalls and corrupts.

For tests and benchmarks; loopback only, so that it can never become somebody's open proxy.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from dataclasses import dataclass, field

CHUNK = 1 << 16


@dataclass
class Weather:
    """How the link behaves; may be changed while connections live.

    Attributes:
        delay_s: time that each byte travels, one way.
        bytes_per_s: limit of each direction of each connection; None for none.
        stalled: bytes are taken in and go no further.
    """

    delay_s: float = 0.0
    bytes_per_s: float | None = None
    stalled: bool = False


@dataclass
class _Link:
    near: socket.socket
    far: socket.socket
    corrupt: set[str] = field(default_factory=set)


class Relay:
    """Listens on a free loopback port and passes bytes to `target`, as its `weather` allows.

    Args:
        target: host and port behind the relay; a loopback address.
        weather: how the link behaves.
        port: where to listen; 0: any that is free.
    """

    def __init__(
        self, target: tuple[str, int], weather: Weather | None = None, port: int = 0
    ) -> None:
        if not target[0].startswith("127."):
            raise ValueError(f"a relay serves the loopback only, not {target[0]}")
        self.weather = weather or Weather()
        self._target = target
        self._links: list[_Link] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """Break all living connections; new ones are still taken."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            for end in (link.near, link.far):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def corrupt(self, direction: str) -> None:
        """Flip one bit in the middle of the next bytes of each connection.

        Args:
            direction: `up` (towards the target) or `down`.
        """
        with self._lock:
            for link in self._links:
                link.corrupt.add(direction)

    def close(self) -> None:
        """Stop listening and break everything."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target, timeout=5)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            link = _Link(near, far)
            with self._lock:
                self._links.append(link)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(link, near, far, "up")
            self._start(link, far, near, "down")

    def _start(
        self, link: _Link, source: socket.socket, sink: socket.socket, direction: str
    ) -> None:
        # Bounded, as the buffers of a real path are: a slow reader slows its writer.
        pending: queue.Queue[tuple[float, bytes]] = queue.Queue(64)

        def take() -> None:
            data = b"-"
            while data:
                try:
                    data = source.recv(CHUNK)
                except OSError:
                    data = b""
                if data and direction in link.corrupt:
                    link.corrupt.discard(direction)
                    middle = len(data) // 2
                    data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
                pending.put((time.monotonic(), data))

        def give() -> None:
            open_end = True
            free_at = 0.0
            while True:
                arrived, data = pending.get()
                if not data:
                    break
                if not open_end:
                    continue
                start = max(arrived + self.weather.delay_s, free_at)
                if self.weather.bytes_per_s:
                    start += len(data) / self.weather.bytes_per_s
                time.sleep(max(0.0, start - time.monotonic()))
                free_at = start
                while self.weather.stalled:
                    time.sleep(0.01)
                try:
                    sink.sendall(data)
                except OSError:
                    open_end = False
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

        for target in (take, give):
            threading.Thread(target=target, name=f"relay-{direction}", daemon=True).start()
