"""File descriptors as they must be before a native library is loaded, and frames over them."""

import os
import select
from typing import Tuple

from ..measurement import clock
from .wire import BEAT, Frame, encode

_PULSE_S = 1.0
_AT_ONCE = 1 << 18


class Source(object):
    """Bytes of a descriptor, read into the same memory again and again.

    A new piece of that size each time is memory that the kernel maps, clears and takes back.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._view = memoryview(bytearray(_AT_ONCE))

    def read(self) -> memoryview:
        """What there is, empty at the end; valid until the next call.

        Raises:
            OSError: the descriptor cannot be read, or not without waiting where it must not wait.
        """
        return self._view[: os.readv(self._fd, [self._view])]


def take_stdio() -> Tuple[int, int]:
    """Private copies of stdin and stdout, for frames alone.

    Afterwards fd 0 is empty and fd 1 is stderr: whatever a library prints cannot get between
    frames, and whatever it reads is no frame.
    """
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, sink


def say(message: str) -> None:
    """A line to stderr if it can be had without waiting; an unread stderr must stop nothing."""
    pour((message + "\n").encode("utf-8", "replace"))


def pour(data: bytes) -> None:
    """Bytes to stderr as far as nobody has to wait for them."""
    try:
        for start in range(0, len(data), 4096):
            # A pipe that is ready takes 4096 bytes whole.
            if not select.select([], [2], [], 0)[1]:
                return
            os.write(2, data[start : start + 4096])
    except (OSError, ValueError):
        pass


class Link(object):
    """The runtime child's way to the session, written by its main thread only."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._last = clock.now()

    def send(self, frame: Frame) -> None:
        """Write a frame, waiting while the session cannot pass it on."""
        for part in encode(frame):
            view = memoryview(part)
            while len(view):
                view = view[os.write(self._fd, view) :]
        self._last = clock.now()

    def pulse(self) -> None:
        """Tell that the main thread is alive, at most once a second."""
        if clock.now() - self._last > _PULSE_S:
            self.send(Frame(BEAT))
