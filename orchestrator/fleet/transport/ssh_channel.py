"""A remote command's byte channel over SSH."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import paramiko

from orchestrator.errors import BoardError, TransientError
from orchestrator.fleet.transport.marks import Answer
from orchestrator.fleet.transport.ssh_errors import as_farm_errors
from orchestrator.fleet.transport.untrusted import printable, quote

STDERR_TAIL = 8192
# A channel's close message waits behind data that is being sent; a link that moves nothing for
# this long is given up as a whole.
_CLOSE_GRACE_S = 5.0


def close_channel(channel: Any, wait_s: float = 1.0) -> None:
    """Close a paramiko channel from any thread; blocked readers of it return at once.

    The message to the board is sent from a thread of its own: when the link is stuck, the caller
    gets control back after `wait_s`, and the connection is dropped a little later.
    """

    def send_close() -> None:
        with contextlib.suppress(Exception):
            channel.close()

    def give_up() -> None:
        sender.join(_CLOSE_GRACE_S)
        if sender.is_alive():
            with contextlib.suppress(OSError):
                channel.get_transport().sock.shutdown(socket.SHUT_RDWR)

    if channel.closed:
        return
    channel.get_transport().note_closing(channel)
    sender = threading.Thread(target=send_close, name="ssh-close", daemon=True)
    sender.start()
    sender.join(wait_s)
    if sender.is_alive():
        threading.Thread(target=give_up, name="ssh-give-up", daemon=True).start()


class Guard:
    """Closes a channel when its deadline passes, so that no call on it blocks for ever."""

    def __init__(self, channel: Any, seconds: float) -> None:
        self.expired = False
        self._channel = channel
        self._timer = threading.Timer(max(0.0, seconds), self._expire)
        self._timer.daemon = True

    def _expire(self) -> None:
        self.expired = True
        close_channel(self._channel)

    def start(self) -> None:
        """Count from now on."""
        self._timer.start()

    def stop(self) -> None:
        """The channel may live."""
        self._timer.cancel()

    def __enter__(self) -> Guard:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class StderrDrain:
    """Reads stderr as it comes, or a chatty command would fill the window and stand still.

    Keeps the first `limit` bytes of what stands between farm's marks, or the last ones when `tail`.
    """

    def __init__(self, channel: Any, answer: Answer, limit: int, tail: bool) -> None:
        self.answer = answer
        self._channel = channel
        self._complete = threading.Event()
        self._limit = limit
        self._tail = tail
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._drain, name="ssh-stderr", daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while True:
            try:
                data = self._channel.recv_stderr(1 << 16)
            except TimeoutError:
                continue
            except (OSError, EOFError, paramiko.SSHException):
                break
            if not data:
                break
            self._keep(self.answer.feed(data))
            if self.answer.ended:
                self._complete.set()
        self._keep(self.answer.rest())
        self._complete.set()

    def _keep(self, data: bytes) -> None:
        with self._lock:
            if self._tail:
                self._buffer += data
                del self._buffer[: -self._limit]
            else:
                self._buffer += data[: self._limit - len(self._buffer)]

    def tail(self, wait_s: float = 0.0) -> bytes:
        """What was kept; waits up to `wait_s` for the second mark or stderr's end."""
        self._complete.wait(wait_s)
        with self._lock:
            return bytes(self._buffer)


def no_shell(board: str, status: int, out: Answer, err: Answer) -> BoardError:
    """The error about a login shell that ended before it had run what it was given."""
    answer = out if out.noise.strip() else err
    says = quote(answer.noise, total=answer.skipped)
    return BoardError(
        f"{board}: its login shell runs no command, it ends with status {status} and says {says}",
        "is the account's shell `nologin`, or does sshd_config or authorized_keys force another "
        "command? `ssh` with `true` as the command must end with status 0",
    )


class SshChannel:
    """`Channel` of orchestrator.fleet.transport.channel over one paramiko channel.

    `read` and `write` may run in two threads; writes of several threads do not mix. Neither has a
    deadline of its own: `close` from any thread ends both.

    Args:
        channel: paramiko's, in which the command was started.
        board: the board's name, for messages.
        out, err: readers of both streams that know where the command's own output begins.
    """

    def __init__(self, channel: Any, board: str, out: Answer, err: Answer) -> None:
        self._channel = channel
        self._board = board
        self._closed = False
        self._write_lock = threading.Lock()
        self._answer = out
        self._stderr = StderrDrain(channel, err, STDERR_TAIL, tail=True)

    def read(self, limit: int) -> bytes:
        while True:
            with as_farm_errors(self._board, "reading from a command"):
                data: bytes = self._channel.recv(limit)
            if not data:
                self._ended()
                return b""
            if data := self._answer.feed(data):
                return data

    def _ended(self) -> None:
        if self._closed:
            return
        # An orderly end is announced; silence without that is a dead link.
        if not self._channel.eof_received:
            raise TransientError(f"{self._board}: the connection was lost during a command")
        self._answer.rest()
        if not self._answer.begun:
            self._stderr.tail(1.0)
            status = self.exit_status(1.0)
            exit_status = -1 if status is None else status
            raise no_shell(self._board, exit_status, self._answer, self._stderr.answer)

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        size = max(1, int(self._channel.out_max_packet_size) - 64)
        with self._write_lock, as_farm_errors(self._board, "writing to a command"):
            while view:
                sent = self._channel.send(bytes(view[:size]))
                if sent == 0:
                    raise TransientError(f"{self._board}: the command no longer takes input")
                view = view[sent:]

    def close_stdin(self) -> None:
        """Tell the command that its stdin has ended."""
        with as_farm_errors(self._board, "ending a command's input"):
            self._channel.shutdown_write()

    def close(self) -> None:
        self._closed = True
        close_channel(self._channel)

    def stderr_tail(self) -> str:
        return printable(self._stderr.tail(), STDERR_TAIL)

    def exit_status(self, timeout_s: float) -> int | None:
        if not self._channel.status_event.wait(timeout_s):
            return None
        return int(self._channel.exit_status)
