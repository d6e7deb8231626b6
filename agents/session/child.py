"""The session's side of the runtime child: start it, feed it, notice its end, kill it."""

import fcntl
import os
import signal
import subprocess
import sys
from collections import deque
from typing import Deque, Iterator, List, Optional

from ..host import processes
from ..measurement import clock
from ..protocol.link import pour
from ..protocol.wire import Buffer, Decoder, Frame, encode

STDERR_TAIL = 4096
READ = 1 << 18
_PIPE_BYTES = 1 << 20
_AT_ONCE = 16
_F_SETPIPE_SZ = 1031


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

    Attributes:
        stdin, stdout, stderr: descriptors to poll.
        heard: when it last sent a frame, on the monotonic clock.
    """

    def __init__(self, program: str, root: str, images: str, keep: List[int]) -> None:
        python = sys.executable or "python3"
        source, self.stdin = os.pipe()
        self.stdout, sink = os.pipe()
        self.stderr, errors = os.pipe()
        try:
            # Frames have descriptors of their own: not even what prints before the first line of
            # ours (sitecustomize, a preloaded library) can get between them.
            self._process = subprocess.Popen(
                [python, program, "child", "--parent", str(os.getpid()), "--root", root]
                + ["--images", images, "--source", str(source), "--sink", str(sink)]
                + ["--keep=%d" % fd for fd in keep],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=[source, sink] + keep,
                start_new_session=True,
            )
        except BaseException:
            _close(self.stdin, self.stdout, self.stderr)
            raise
        finally:
            _close(source, sink, errors)
        self.pid = self._process.pid
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
        self._decoder = Decoder()
        self._tail = b""

    def read(self) -> Iterator[Frame]:
        """Frames that came; the descriptor leaves `open_fds` at its end.

        Raises:
            WireError: it sent no frame.
        """
        data = self._read(self.stdout)
        if data:
            self.heard = clock.now()
            for frame in self._decoder.feed(data):
                yield frame

    def read_stderr(self) -> None:
        """Keep the tail of what it printed and pass it on."""
        data = self._read(self.stderr)
        if data:
            self._tail = (self._tail + data)[-STDERR_TAIL:]
            pour(data)

    def _read(self, fd: int) -> bytes:
        try:
            data = os.read(fd, READ)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data and fd in self.open_fds:
            self.open_fds.remove(fd)
        return data

    def last_lines(self, count: int = 24) -> List[str]:
        """The end of its stderr."""
        return [line[-400:] for line in self._tail.decode("utf-8", "replace").splitlines()[-count:]]

    def ended(self) -> Optional[str]:
        """How it ended, None while it runs."""
        status = self._process.poll()
        if status is None:
            return None
        if status >= 0:
            return "ended with status %d" % status
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = "signal %d" % -status
        return "was killed by %s" % name

    def kill(self) -> None:
        """End it and everything it started, at once, and reap it."""
        processes.kill_tree(self.pid, self.start)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except OSError:
            pass
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:  # in the kernel, waiting for the accelerator
            pass
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


def _close(*fds: int) -> None:
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            pass
