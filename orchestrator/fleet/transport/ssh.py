"""Boards reached over SSH: one connection, many commands, pinned host key, keys only."""

from __future__ import annotations

import contextlib
import shlex
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko

from orchestrator.errors import BoardError, TransientError
from orchestrator.fleet.transport.channel import CommandResult
from orchestrator.fleet.transport.deadline import Deadline, Expired
from orchestrator.fleet.transport.jump_hosts import Place, Way, close_all, shut
from orchestrator.fleet.transport.marks import Answer, Marks
from orchestrator.fleet.transport.ssh_channel import (
    Guard,
    SshChannel,
    StderrDrain,
    close_channel,
    no_shell,
)
from orchestrator.fleet.transport.ssh_connection import WINDOW
from orchestrator.fleet.transport.ssh_errors import as_farm_errors
from orchestrator.fleet.transport.untrusted import headline, one_line, quote

OUTPUT_LIMIT = 1 << 20
KEEPALIVE_S = 5
# A channel that dropbear closed before its command was started is opened again (`settle` of
# ssh_connection.py says why that happens, and avoids most of it).
_DROPBEAR_TRIES = 3
# A command's second mark comes before its end; what its shell left running may hold the channel.
_ORDERLY_S = 0.5
_STDERR_S = 2.0


class SshTransport:
    """`Transport` of orchestrator.fleet.transport.channel over SSH. Safe to call from any thread.

    A command whose deadline passes loses its channel. OpenSSH does not kill it for that: a command
    that never reads or writes again lives on at the board until it ends by itself.

    Args:
        board: the board's name, for messages.
        host: name or address.
        port: TCP port.
        user: the account on the board; the user's own name when None.
        key_file: private key; None offers the user's usual ones.
        host_key: the pinned host key, `ssh-ed25519 AAAA…` or `SHA256:…`.
        known_hosts: when no host key is pinned, what `ssh` itself keeps of approved ones. A board
            that is in neither is refused, with the words to pin it.
        use_agent: whether keys of the user's ssh-agent are offered too.
        jump: hosts on the way there, the first one first, as with `ssh -J`.

    Raises:
        UserError: `host_key` is not one.
    """

    def __init__(
        self,
        board: str,
        host: str,
        *,
        user: str | None = None,
        port: int = 22,
        key_file: str | Path | None = None,
        host_key: str | None = None,
        known_hosts: Path = Path("~/.ssh/known_hosts"),
        use_agent: bool = True,
        jump: Sequence[Place] = (),
    ) -> None:
        self.board = board
        place = Place(host, port, user, None if key_file is None else str(key_file), host_key)
        self._way = Way(board, (*jump, place), known_hosts.expanduser(), use_agent)
        self._lock = threading.Lock()
        self._connection: Any = None
        self._hops: list[Any] = []
        self.has_sftp = True  # until the board says otherwise
        self._noise, self._noise_bytes = b"", 0

    def connect(self, timeout_s: float) -> None:
        """Reach the board and prove both identities; does nothing on a living connection.

        Raises:
            TransientError: it did not answer in time.
            ChangedHostKey: (a BoardError) its host key is not the pinned one.
            UnknownHostKey: (a UserError) no host key is pinned.
            BoardError: its SSH server is too old.
            UserError: our keys were refused or cannot be used, or the host name is unknown.
        """
        with self._lock:
            if self._connection is not None and self._connection.is_active():
                return
            self._drop()
            *hops, connection = self._way.connect(Deadline(timeout_s))
            for each in (*hops, connection):
                each.set_keepalive(KEEPALIVE_S)
                each.channel_timeout = timeout_s
            self._connection, self._hops = connection, hops

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float) -> CommandResult:
        doing = f"running `{headline(command)}`"
        return self._answered(command, stdin, timeout_s, doing)

    def open(self, command: str, *, timeout_s: float) -> SshChannel:
        doing = f"starting `{headline(command)}`"
        marks = Marks()
        sent = marks.before(command)
        with self._started(sent, timeout_s, doing, keep=True) as (channel, _):
            out, err = marks.answer(ends=False), marks.answer(ends=False)
            return SshChannel(channel, self.board, out, err)

    def put(
        self,
        data: bytes,
        remote: str,
        *,
        mode: int,
        timeout_s: float,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Write `data` to `remote`; a relative path is one below the login directory.

        `progress` receives the number of bytes handed over so far. What a failed call leaves behind
        is the caller's to remove.

        Raises:
            TransientError: the link failed or the deadline passed.
            BoardError: the board refused (permissions, read-only or full file system).
        """
        deadline = Deadline(timeout_s)
        tell = progress or (lambda _sent: None)
        if self.has_sftp:
            with self._sftp(deadline) as client:
                if client is not None and self._put_sftp(client, data, remote, mode, tell):
                    return
            self.has_sftp = False
        self._put_cat(data, remote, mode, deadline, tell)

    @property
    def noise(self) -> str:
        """What the login shell printed around answers, quoted; empty when it is silent."""
        with self._lock:
            return quote(self._noise, total=self._noise_bytes) if self._noise_bytes else ""

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            close_all([*self._hops, self._connection])
            self._connection, self._hops = None, []

    def _open_channel(self, deadline: Deadline) -> Any:
        connection = self._connection
        if connection is None or not connection.is_active():
            raise TransientError(f"{self.board}: not connected")
        connection.settle(min(1.0, deadline.remaining()))
        left = max(0.1, deadline.remaining())
        # Behind a full socket even the request waits, and no timeout of paramiko's covers that.
        last_resort = threading.Timer(left + 0.5, shut, (connection,))
        last_resort.daemon = True
        last_resort.start()
        try:
            return connection.open_session(window_size=WINDOW, timeout=left)
        except (paramiko.SSHException, EOFError, OSError) as error:
            if deadline.over:
                raise self._too_late(deadline, "opening a channel") from error
            raise
        finally:
            last_resort.cancel()

    @contextmanager
    def _started(
        self, command: str, timeout_s: float, doing: str, keep: bool = False
    ) -> Iterator[tuple[Any, Deadline]]:
        """A channel with `command` running in it, closed at the end unless it is to be kept."""
        deadline = Deadline(timeout_s)
        with as_farm_errors(self.board, doing):
            channel, guard = self._execute(command, deadline, doing)
            try:
                yield channel, deadline
                # Closed by the guard, a channel looks like one whose command has ended.
                if guard.expired and channel.exit_status < 0:
                    raise TransientError("too late")
            except (OSError, EOFError, paramiko.SSHException, TransientError) as error:
                close_channel(channel)
                if guard.expired:
                    raise self._too_late(deadline, doing) from error
                raise
            except BaseException:
                close_channel(channel)
                raise
            finally:
                guard.stop()
            if not keep:
                close_channel(channel)

    def _answered(
        self,
        command: str,
        stdin: bytes,
        timeout_s: float,
        doing: str,
        tell: Callable[[int], None] | None = None,
    ) -> CommandResult:
        """A command's answer, without what else its login shell prints.

        Args:
            tell: told, from another thread, how many bytes of `stdin` were handed over so far.
        """
        marks = Marks()
        out = marks.answer()
        with self._started(marks.around(command), timeout_s, doing) as (channel, deadline):
            stderr = StderrDrain(channel, marks.answer(), OUTPUT_LIMIT, tail=False)
            listens = threading.Event()
            if not stdin:
                listens.set()  # a start-up file that asks something is told at once: nobody answers
            feeder = threading.Thread(
                target=_feed, args=(channel, stdin, listens, tell), name="ssh-stdin", daemon=True
            )
            feeder.start()
            stdout = bytearray()
            try:
                while not out.ended and (data := channel.recv(1 << 18)):
                    stdout += out.feed(data)[: OUTPUT_LIMIT - len(stdout)]
                    if out.begun:
                        listens.set()
            finally:
                listens.set()
            self._heard(out, stderr.answer)
            if out.status is not None:
                channel.status_event.wait(min(_ORDERLY_S, deadline.remaining()))
                errors = stderr.tail(min(_STDERR_S, deadline.remaining()))
                return CommandResult(out.status, bytes(stdout), errors)
            channel.status_event.wait(deadline.remaining())
            if not channel.eof_received and channel.exit_status < 0:
                raise TransientError(f"{self.board}: the connection was lost while {doing}")
            stdout += out.rest()[: OUTPUT_LIMIT - len(stdout)]
            errors = stderr.tail(deadline.remaining())
            if not out.begun:
                raise no_shell(self.board, int(channel.exit_status), out, stderr.answer)
            # Its own shell was ended, or it would have told the status.
            return CommandResult(-1, bytes(stdout), errors)

    def _heard(self, *answers: Answer) -> None:
        with self._lock:
            for answer in answers:
                self._noise = self._noise or answer.noise
                self._noise_bytes += answer.skipped

    def _execute(self, command: str, deadline: Deadline, doing: str) -> tuple[Any, Guard]:
        """A channel in which `command` was started, and the running guard of its deadline."""
        for tries_left in reversed(range(_DROPBEAR_TRIES)):
            channel = self._open_channel(deadline)
            guard = Guard(channel, deadline.remaining())
            guard.start()
            try:
                channel.exec_command(command)
                return channel, guard
            except BaseException as error:
                guard.stop()
                close_channel(channel)
                if not isinstance(error, (OSError, EOFError, paramiko.SSHException)):
                    raise
                if guard.expired:
                    raise self._too_late(deadline, doing) from error
                server = channel.get_transport()
                if "dropbear" not in server.remote_version or not server.is_active():
                    raise
                if not tries_left:
                    raise TransientError(
                        f"{self.board}: the board closed a channel while {doing}",
                        "dropbear 2022.82 to 2024.85 does that now and then: update it",
                    ) from error
        raise AssertionError("unreachable")

    def _too_late(self, deadline: Deadline, doing: str) -> Expired:
        return Expired(f"{self.board}: no end after {deadline.seconds:g} s while {doing}")

    @contextmanager
    def _sftp(self, deadline: Deadline) -> Iterator[Any]:
        """An SFTP client, or None when the board has no such subsystem."""
        with as_farm_errors(self.board, "sending a file"):
            channel = self._open_channel(deadline)
            with Guard(channel, deadline.remaining()) as guard, contextlib.closing(channel):
                try:
                    channel.invoke_subsystem("sftp")
                    client = paramiko.SFTPClient(channel)
                except (paramiko.SSHException, paramiko.SFTPError, EOFError, OSError) as error:
                    if guard.expired:
                        raise Expired(f"{self.board}: SFTP did not start in time") from error
                    if not channel.get_transport().is_active():
                        raise
                    client = None
                try:
                    yield client
                    _end_sftp(channel)
                except (OSError, EOFError, paramiko.SSHException) as error:
                    if guard.expired:
                        raise Expired(
                            f"{self.board}: a file was not sent within {deadline.seconds:g} s"
                        ) from error
                    raise

    def _put_sftp(
        self, client: Any, data: bytes, remote: str, mode: int, tell: Callable[[int], None]
    ) -> bool:
        """Write a file; False when something else than SFTP talks on the channel."""
        chunk = 1 << 18
        try:
            with client.open(remote, "wb") as file:
                file.chmod(mode)
                file.set_pipelined(True)
                for start in range(0, len(data), chunk):
                    file.write(data[start : start + chunk])
                    tell(min(start + chunk, len(data)))
            return True
        except (paramiko.SFTPError, struct.error, UnicodeDecodeError):
            return False
        except OSError as error:
            if client.get_channel().closed or isinstance(error, TimeoutError):
                raise
            raise BoardError(
                f"{self.board}: the board did not take the file {remote}: {one_line(str(error))}",
                "is its file system full or read-only, and may the user write there?",
            ) from error

    def _put_cat(
        self,
        data: bytes,
        remote: str,
        mode: int,
        deadline: Deadline,
        tell: Callable[[int], None],
    ) -> None:
        path = shlex.quote(remote if remote.startswith("/") else f"./{remote}")
        command = f"umask 077 && cat > {path} && chmod {mode:o} {path}"
        done = self._answered(command, data, deadline.remaining(), "sending a file", tell)
        if done.status != 0:
            words = one_line(done.stderr) or f"status {done.status}"
            raise BoardError(
                f"{self.board}: the board did not take the file {remote}: {words}",
                "is its file system full or read-only, and may the user write there?",
            )


def _end_sftp(channel: Any) -> None:
    """Let the board end an SFTP session, which is the order that dropbear expects."""
    channel.shutdown_write()
    patience = Deadline(2.0)
    while not channel.closed and not patience.expired:
        channel.recv(1 << 16)
        time.sleep(0.002)


def _feed(
    channel: Any, data: bytes, listens: threading.Event, tell: Callable[[int], None] | None
) -> None:
    """Hand `data` to a command's stdin and end it; a command that does not listen is no error.

    Nothing is sent before the command `listens`: a start-up file that reads would eat it.
    """
    listens.wait()
    size = max(1, int(channel.out_max_packet_size) - 64)
    view = memoryview(data)
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        while view:
            sent = channel.send(bytes(view[:size]))
            if sent == 0:
                return
            view = view[sent:]
            if tell is not None:
                tell(len(data) - len(view))
        channel.shutdown_write()
