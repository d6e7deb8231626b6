"""How many bytes of images to keep under way: what link and runtime need, and little more."""

from __future__ import annotations

from collections import deque

from orchestrator.agents.protocol.wire import MAX_PAYLOAD

PIECE = 256 << 10  # bytes of images in a frame, where an image is not larger
# A quick board's frames are longer, as each costs five processes something; they are worked off in
# this time, so that a heartbeat does not wait longer behind one.
FRAME_S = 1 / 16
_SPARE = 3  # frames beyond the round trip: one being sent, one being run, one for hiccups
_SAMPLES = 9


class Flow:
    """A window that follows the rate at which the board works and the link's round trip.

    Twice the rate times the round trip, plus a few frames: the window doubles each round trip
    while it is what limits the rate, and stays when runtime or link do. More in flight would only
    lengthen queues, in which heartbeats and cancellation wait too.

    Args:
        window: bytes that the agent takes at most.
        image_bytes: size of an image.
        rtt_s: the shortest round trip seen.
    """

    def __init__(self, window: int, image_bytes: int, rtt_s: float) -> None:
        self._window, self._image_bytes, self._rtt_s = window, image_bytes, rtt_s
        self._returns: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._total = 0

    def returned(self, size: int, now: float) -> None:
        """The board has worked off `size` bytes of images."""
        self._total += size
        self._returns.append((now, self._total))

    @property
    def images_a_frame(self) -> int:
        """How many images the next frame has."""
        wanted = max(PIECE, int(self._rate * FRAME_S))
        most = min(wanted, self._window // (_SPARE + 1), MAX_PAYLOAD)
        return max(1, most // self._image_bytes)

    @property
    def limit(self) -> int:
        """Bytes that may be under way now."""
        floor = _SPARE * self.images_a_frame * self._image_bytes
        return min(self._window, floor + int(2 * self._rate * self._rtt_s))

    @property
    def _rate(self) -> float:
        """Bytes a second lately, 0 while that is unknown."""
        if len(self._returns) < 2:
            return 0.0
        (first, before), (last, after) = self._returns[0], self._returns[-1]
        return (after - before) / max(last - first, 1e-4)
