"""The session's side of the runtime child: start it, feed it, notice its end, kill it."""

import fcntl
import os
import signal
import time
import traceback
from collections import deque
from typing import Any, Callable, Deque, Iterator, List, Optional, Tuple

from ..host import processes
from ..measurement import clock
from ..protocol.link import Source, pour
from ..protocol.wire import Buffer, Decoder, Frame, encode

STDERR_TAIL = 4096
_PIPE_BYTES = 1 << 20
_AT_ONCE = 16
_F_SETPIPE_SZ = 1031
_REAP_S = 2.0
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def unblock(fd: int) -> None:
    """Make reads and writes of a descriptor return instead of waiting."""
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)


class Outbox(object):
    """Frames on their way out of a descriptor that does not block."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._parts: Deque[memoryview] = deque()
        self.size = 0

    def put(self, frame: Frame) -> None:
        """Queue a frame."""
        for part in encode(frame):
            self._add(part)

    def pass_on(self, frame: Frame) -> None:
        """Queue a frame as it was received."""
        self._add(frame.received)

    def _add(self, part: Buffer) -> None:
        self._parts.append(memoryview(part))
        self.size += len(part)

    def flush(self) -> None:
        """Write what can be written without waiting.

        Raises:
            OSError: nobody reads any more.
        """
        while self._parts:
            # A frame's parts at once: else whatever shares this stream gets in between them.
            parts = [self._parts[at] for at in range(min(_AT_ONCE, len(self._parts)))]
            try:
                sent = os.writev(self._fd, parts)
            except BlockingIOError:
                return
            self.size -= sent
            while self._parts and sent >= len(self._parts[0]):
                sent -= len(self._parts.popleft())
            if sent:
                self._parts[0] = self._parts[0][sent:]


class Child(object):
    """A running runtime child in a process group of its own.

    It is a copy of this process, which has one thread and has loaded nothing of a vendor: to start
    Python and compile the agent again takes seven times as long.

    Attributes:
        stdin, stdout, stderr: descriptors to poll.
        heard: when it last sent a frame, on the monotonic clock.
    """

    def __init__(self, root: str, images: str, keep: List[int]) -> None:
        from . import worker  # loaded once, and only where a model is to run

        source, self.stdin = os.pipe()
        self.stdout, sink = os.pipe()
        self.stderr, errors = os.pipe()
        parent = os.getpid()
        self._status: Optional[int] = None
        # What asks the session to end must not unwind its stack in the copy.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                arguments = (parent, root, images, source, sink, keep)
                _become(worker.main, arguments, errors, [source, sink] + keep)
        except BaseException:
            _close(self.stdin, self.stdout, self.stderr)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            _close(source, sink, errors)
        self.start = processes.start_time(self.pid)
        for fd in (self.stdin, self.stdout, self.stderr):
            unblock(fd)
        for fd in (self.stdin, self.stdout):
            try:
                fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_BYTES)
            except OSError:  # above the user's limit; the default works too
                pass
        self.outbox = Outbox(self.stdin)
        self.heard = clock.now()
        self.used = False
        self.open_fds = [self.stdout, self.stderr]
        self._frames, self._words = Source(self.stdout), Source(self.stderr)
        self._decoder = Decoder()
        self._tail = b""

    def read(self) -> Iterator[Frame]:
        """Frames that came; the descriptor leaves `open_fds` at its end.

        Raises:
            WireError: it sent no frame.
        """
        data = self._read(self.stdout, self._frames)
        if data:
            self.heard = clock.now()
            for frame in self._decoder.feed(data):
                yield frame

    def read_stderr(self) -> None:
        """Keep the tail of what it printed and pass it on."""
        data = self._read(self.stderr, self._words)
        if data:
            said = bytes(data)
            self._tail = (self._tail + said)[-STDERR_TAIL:]
            pour(said)

    def _read(self, fd: int, source: Source) -> Buffer:
        data: Buffer = b""
        try:
            data = source.read()
        except BlockingIOError:
            return data
        except OSError:
            pass
        if not data and fd in self.open_fds:
            self.open_fds.remove(fd)
        return data

    def last_lines(self, count: int = 40) -> List[str]:
        """The end of its stderr."""
        return [line[-400:] for line in self._tail.decode("utf-8", "replace").splitlines()[-count:]]

    def ended(self) -> Optional[str]:
        """How it ended, None while it runs."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except OSError:  # somebody else has reaped it
                pid, status = self.pid, 0
            if pid == 0:
                return None
            self._status = status
        if os.WIFEXITED(self._status):
            return "ended with status %d" % os.WEXITSTATUS(self._status)
        number = os.WTERMSIG(self._status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = "signal %d" % number
        return "was killed by %s" % name

    def kill(self) -> None:
        """End it and everything it started, at once, and reap it."""
        processes.kill_tree(self.pid, self.start)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except OSError:
            pass
        end = clock.now() + _REAP_S
        # It may be in the kernel, waiting for the accelerator.
        while self.ended() is None and clock.now() < end:
            time.sleep(0.005)
        # What it printed last is often why it had to be killed.
        for _ in range(64):
            if self.stderr not in self.open_fds or not self._more():
                break
        _close(self.stdin, self.stdout, self.stderr)
        self.open_fds = []

    def _more(self) -> bool:
        before = self._tail
        self.read_stderr()
        return self._tail != before


def _become(
    work: Callable[..., None], arguments: Tuple[Any, ...], errors: int, keep: List[int]
) -> None:
    """Do other work to the end of this process, which never gets back into the session's code.

    Args:
        errors: what it prints goes there: frames have descriptors of their own.
        keep: descriptors that stay open.
    """
    status = 1
    try:
        _separate(errors, keep)
        work(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _separate(errors: int, keep: List[int]) -> None:
    os.setsid()
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for fd, place in ((nothing, 0), (errors, 1), (errors, 2)):
        os.dup2(fd, place)
    try:
        fds = [int(name) for name in os.listdir("/proc/self/fd")]
    except (OSError, ValueError):
        fds = list(range(3, 1024))
    _close(*[fd for fd in fds if fd > 2 and fd not in keep])


def _close(*fds: int) -> None:
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            pass
