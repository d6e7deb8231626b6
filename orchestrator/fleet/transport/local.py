"""This host as a board: commands as subprocesses, the same contract as over SSH."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from orchestrator.errors import BoardError, TransientError
from orchestrator.fleet.transport.channel import CommandResult
from orchestrator.fleet.transport.deadline import Deadline, Expired
from orchestrator.fleet.transport.processes import end_sessions
from orchestrator.fleet.transport.untrusted import headline, printable

OUTPUT_LIMIT = 1 << 20
STDERR_TAIL = 8192
_PIPE = 1 << 20
_GRACE_S = 0.5


class LocalChannel:
    """`Channel` of orchestrator.fleet.transport.channel over a subprocess's pipes."""

    def __init__(self, board: str, command: str, home: Path, stderr_limit: int, tail: bool) -> None:
        self._board = board
        self._limit = stderr_limit
        self._tail = tail
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._closed = False
        self._wake, self._waker = os.pipe()
        # `python3` in a command is the interpreter that runs farm, with its packages.
        path = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", os.defpath)
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=home,
                env={**os.environ, "PATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._wake)
            os.close(self._waker)
            raise TransientError(f"{board}: no command starts here: {error.strerror}") from error
        assert self._process.stdin
        assert self._process.stdout
        self._stdin = self._process.stdin.fileno()
        self._stdout = self._process.stdout.fileno()
        for end in (self._stdin, self._stdout):
            os.set_blocking(end, False)
            with contextlib.suppress(OSError, AttributeError):
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _PIPE)
        self._stdin_open = True
        self._drain = threading.Thread(target=self._drain_stderr, name="stderr", daemon=True)
        self._drain.start()
        self._status = -1
        self._ended = threading.Event()
        threading.Thread(target=self._wait, name="wait", daemon=True).start()

    def _wait(self) -> None:
        # Not reaped: until `close` no other process may get this number, which names a session.
        result = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        if result is not None and result.si_code == os.CLD_EXITED:
            self._status = result.si_status
        self._ended.set()

    def _drain_stderr(self) -> None:
        assert self._process.stderr
        while data := self._process.stderr.read(1 << 16):
            with self._lock:
                if self._tail:
                    self._buffer += data
                    del self._buffer[: -self._limit]
                else:
                    self._buffer += data[: self._limit - len(self._buffer)]

    def _wait_for(self, end: int, event: int) -> bool:
        """True when `end` is ready, False when the channel was closed meanwhile."""
        poll = select.poll()
        poll.register(end, event)
        poll.register(self._wake, select.POLLIN)
        ready = dict(poll.poll())
        return self._wake not in ready and not self._closed

    def read(self, limit: int) -> bytes:
        while not self._closed and self._wait_for(self._stdout, select.POLLIN):
            with contextlib.suppress(BlockingIOError):
                return os.read(self._stdout, limit)
        return b""

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        with self._write_lock:
            while view:
                if not self._stdin_open or not self._wait_for(self._stdin, select.POLLOUT):
                    raise TransientError(f"{self._board}: the command's channel is closed")
                try:
                    view = view[os.write(self._stdin, view) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise TransientError(
                        f"{self._board}: the command no longer takes input"
                    ) from error

    def close_stdin(self) -> None:
        """Tell the command that its stdin has ended."""
        assert self._process.stdin
        with self._write_lock:
            if self._stdin_open:
                self._stdin_open = False
                self._process.stdin.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        os.write(self._waker, b"x")
        end_sessions({self._process.pid}, _GRACE_S)
        self._ended.wait()
        self._process.wait()

    def __del__(self) -> None:
        # Only here is no thread left that may still poll these.
        for end in (self._wake, self._waker):
            with contextlib.suppress(OSError):
                os.close(end)

    def stderr(self, wait_s: float = 0.0) -> bytes:
        """What was kept of stderr; waits up to `wait_s` for its end."""
        self._drain.join(wait_s)
        with self._lock:
            return bytes(self._buffer)

    def stderr_tail(self) -> str:
        return printable(self.stderr(), STDERR_TAIL)

    def exit_status(self, timeout_s: float) -> int | None:
        return self._status if self._ended.wait(timeout_s) else None


class LocalTransport:
    """`Transport` of orchestrator.fleet.transport.channel on this host.

    Args:
        board: the board's name, for messages.
        home: where commands start and relative paths lie; the user's home when None. Made, for
            this user only, when missing.
    """

    def __init__(self, board: str, home: Path | None = None) -> None:
        self.board = board
        self.home = Path.home() if home is None else home
        self._lock = threading.Lock()
        self._channels: set[LocalChannel] = set()
        self._connected = False

    def connect(self, timeout_s: float) -> None:
        """Make the home directory.

        Raises:
            BoardError: it cannot be made.
        """
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BoardError(
                f"{self.board}: {self.home} cannot be made: {error.strerror}"
            ) from error
        self._connected = True

    def _start(self, command: str, stderr_limit: int, tail: bool) -> LocalChannel:
        if not self._connected:
            raise TransientError(f"{self.board}: not connected")
        channel = LocalChannel(self.board, command, self.home, stderr_limit, tail)
        with self._lock:
            ended = {c for c in self._channels if c.closed}
            self._channels = (self._channels - ended) | {channel}
        return channel

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float) -> CommandResult:
        deadline = Deadline(timeout_s)
        channel = self._start(command, OUTPUT_LIMIT, False)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            channel.close()

        def feed() -> None:
            with contextlib.suppress(TransientError):
                channel.write(stdin)
            channel.close_stdin()

        timer = threading.Timer(timeout_s, expire)
        timer.daemon = True
        timer.start()
        try:
            threading.Thread(target=feed, name="stdin", daemon=True).start()
            stdout = bytearray()
            while data := channel.read(1 << 18):
                stdout += data[: OUTPUT_LIMIT - len(stdout)]
            status = channel.exit_status(deadline.remaining())
            stderr = channel.stderr(min(1.0, deadline.remaining()))
        finally:
            timer.cancel()
            channel.close()
        if expired.is_set() or status is None:
            raise Expired(
                f"{self.board}: no end after {timeout_s:g} s while running `{headline(command)}`"
            )
        return CommandResult(status, bytes(stdout), stderr)

    def open(self, command: str, *, timeout_s: float) -> LocalChannel:
        return self._start(command, STDERR_TAIL, True)

    def put(
        self,
        data: bytes,
        remote: str,
        *,
        mode: int,
        timeout_s: float,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Write `data` to `remote`; a relative path is one below the home directory.

        Raises:
            BoardError: the file cannot be written.
            TransientError: the deadline passed.
        """
        deadline = Deadline(timeout_s)
        chunk = 4 << 20
        try:
            handle = os.open(
                self.home / remote, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
            )
            with open(handle, "wb", buffering=0) as file:
                os.fchmod(handle, mode)
                for start in range(0, len(data), chunk):
                    if deadline.expired:
                        raise Expired(
                            f"{self.board}: {remote} was not written within {timeout_s:g} s"
                        )
                    _write_all(file.fileno(), memoryview(data)[start : start + chunk])
                    if progress is not None:
                        progress(min(start + chunk, len(data)))
        except OSError as error:
            raise BoardError(
                f"{self.board}: {remote} cannot be written: {error.strerror}"
            ) from error

    def close(self) -> None:
        self._connected = False
        with self._lock:
            channels, self._channels = self._channels, set()
        for channel in channels:
            channel.close()


def _write_all(handle: int, view: memoryview) -> None:
    while view:
        view = view[os.write(handle, view) :]
