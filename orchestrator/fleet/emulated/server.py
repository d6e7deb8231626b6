"""Emulated boards: a real SSH server each on the loopback, one or many in a process.

Run as `python -m orchestrator.fleet.emulated.server --home DIR --host-key FILE --client-key FILE`.
When ready it writes one line of JSON, {"port": …, "host_key": "ssh-ed25519 …"}, and serves until
its stdin ends: it dies with the process that started it, and its commands die with it.

Each line on stdin is answered by one on stdout. {"start": [arguments as above]} adds a board, whose
answer is as the first one's or {"error": …}; {"stop": port} ends one and its commands.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import paramiko
from paramiko.common import MSG_CHANNEL_REQUEST

from orchestrator.fleet.emulated.sftp import HomeSftp
from orchestrator.fleet.transport.known_keys import HostKey
from orchestrator.fleet.transport.processes import end_sessions
from orchestrator.fleet.transport.ssh_connection import Connection

# Larger than SSH's customary 32 KiB: fewer packets, and Python pays per packet.
PACKET = 1 << 17
PIPE = 1 << 20
LOGIN_S = 30.0
HANGUP_GRACE_S = 0.5
MAX_CONNECTIONS = 64
SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Board:
    """What the server emulates, and the commands that run on it (by the number of their leader)."""

    home: Path
    user: str
    host_key: Any
    client_key: HostKey
    sftp: bool
    shell: str
    path: str
    listener: socket.socket
    lock: threading.Lock = field(default_factory=threading.Lock)
    running: set[int] = field(default_factory=set)
    connections: set[Any] = field(default_factory=set)
    stopped: bool = False

    def environment(self) -> dict[str, str]:
        """What a login on a small board sets, and nothing of this host's."""
        return {
            "HOME": str(self.home),
            "USER": self.user,
            "LOGNAME": self.user,
            "SHELL": "/bin/sh",
            "PATH": f"{self.home / 'bin'}:{self.path}",
        }

    def stop(self) -> None:
        """End the server, its connections and its commands; other boards do not notice."""
        with self.lock:
            self.stopped = True
            leaders, connections = set(self.running), set(self.connections)
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self.listener.close()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()
        end_sessions(leaders, HANGUP_GRACE_S)


def _run_command(board: Board, channel: Any, command: bytes) -> None:
    """Run one command on a channel to its end, or until the channel is gone."""
    try:
        process = subprocess.Popen(
            [os.fsencode(board.shell), b"-c", command],
            cwd=board.home,
            env=board.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            channel.sendall_stderr(f"{error}\n".encode())
            channel.send_exit_status(126)
        channel.close()
        return
    with board.lock:
        board.running.add(process.pid)
        late = board.stopped
    if late:
        end_sessions({process.pid}, HANGUP_GRACE_S)
    assert process.stdin
    assert process.stdout
    assert process.stderr
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE)

    def take_input() -> None:
        assert process.stdin
        open_end = True
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            while data := channel.recv(PIPE):
                if not open_end:
                    continue  # the command closed its stdin: what still comes is dropped
                try:
                    view = memoryview(data)
                    while view:
                        view = view[os.write(process.stdin.fileno(), view) :]
                except OSError:
                    open_end = False
        with contextlib.suppress(OSError):
            process.stdin.close()

    def give_output(pipe: Any, send: Any) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            while data := os.read(pipe.fileno(), PIPE):
                view = memoryview(data)
                while view:
                    count = send(bytes(view[: channel.out_max_packet_size - 64]))
                    if count == 0:
                        return
                    view = view[count:]

    def watch() -> None:
        # On a server's channel this event is set by nothing but the channel's end.
        while not channel.closed:
            channel.status_event.wait(1.0)
        end_sessions({process.pid}, HANGUP_GRACE_S)

    outputs = [
        threading.Thread(target=give_output, args=(process.stdout, channel.send), daemon=True),
        threading.Thread(
            target=give_output, args=(process.stderr, channel.send_stderr), daemon=True
        ),
    ]
    watcher = threading.Thread(target=watch, daemon=True)
    for thread in (threading.Thread(target=take_input, daemon=True), watcher, *outputs):
        thread.start()
    # Waited for but not reaped: its number stays its own until its session has been ended.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    for thread in outputs:
        thread.join()
    result = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        # A command ended by a signal has no exit status, as with OpenSSH.
        if result is not None and result.si_code == os.CLD_EXITED:
            channel.send_exit_status(result.si_status)
        channel.close()
    watcher.join()
    with board.lock:
        board.running.discard(process.pid)
    process.wait()
    process.stdout.close()
    process.stderr.close()


class _Login(paramiko.ServerInterface):  # type: ignore[misc]
    """One connection: one key is let in, for one user, to run commands."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._pending: dict[int, bytes] = {}

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_none(self, username: str) -> int:
        return int(paramiko.AUTH_FAILED)

    def check_auth_password(self, username: str, password: str) -> int:
        return int(paramiko.AUTH_FAILED)

    def check_auth_publickey(self, username: str, key: Any) -> int:
        allowed = username == self._board.user and key.asbytes() == self._board.client_key.blob
        return int(paramiko.AUTH_SUCCESSFUL if allowed else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind == "session":
            return int(paramiko.OPEN_SUCCEEDED)
        return int(paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)

    def check_channel_exec_request(self, channel: Any, command: bytes) -> bool:
        if channel.chanid in self._pending:
            return False
        self._pending[channel.chanid] = command
        return True

    def start_pending(self, channel: Any) -> None:
        """Start the command that was just accepted on this channel, if there is one."""
        command = self._pending.get(channel.chanid)
        if command:
            self._pending[channel.chanid] = b""
            threading.Thread(
                target=_run_command, args=(self._board, channel, command), daemon=True
            ).start()


def _answer_then_start(channel: Any, message: Any) -> None:
    channel._handle_request(message)
    channel.transport.server_object.start_pending(channel)


class _ServedConnection(Connection):
    """Starts a command only after its request was answered: a command that ends at once would
    otherwise close the channel before the answer, and the client would take it for a refusal."""

    _channel_handler_table: ClassVar[dict[int, Any]] = {
        **Connection._channel_handler_table,
        MSG_CHANNEL_REQUEST: _answer_then_start,
    }


def _serve_connection(board: Board, sock: socket.socket) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _ServedConnection(sock, default_max_packet_size=PACKET)
        with board.lock:
            board.connections.add(connection)
        try:
            connection.add_server_key(board.host_key)
            if board.sftp:
                connection.set_subsystem_handler(
                    "sftp", paramiko.SFTPServer, HomeSftp, home=board.home
                )
            connection.start_server(server=_Login(board))
            login = threading.Timer(
                LOGIN_S, lambda: None if connection.is_authenticated() else connection.close()
            )
            login.daemon = True
            login.start()
            # paramiko keeps a channel only until it is accepted; unheld, it is closed.
            channels: list[Any] = []
            while connection.is_active():
                channels = [channel for channel in channels if not channel.closed]
                channel = connection.accept(5.0)
                if channel is not None:
                    channels.append(channel)
            login.cancel()
        finally:
            connection.close()
            with board.lock:
                board.connections.discard(connection)


def _accept_connections(board: Board) -> None:
    slots = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def serve(sock: socket.socket) -> None:
        try:
            _serve_connection(board, sock)
        finally:
            sock.close()
            slots.release()

    while True:
        slots.acquire()
        try:
            sock, _ = board.listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


def _bring_python(home: Path, python: str) -> None:
    """Put a `python3` on the board's PATH. A link would lose a virtual environment's packages."""
    folder = home / "bin"
    folder.mkdir(exist_ok=True)
    quoted = "'" + python.replace("'", "'\\''") + "'"
    temporary = folder / f".python3.{os.getpid()}"
    temporary.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
    temporary.chmod(0o755)
    temporary.replace(folder / "python3")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="emulated_server", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--host-key", type=Path, required=True, help="private key file")
    parser.add_argument("--client-key", required=True, help="public key line that is let in")
    parser.add_argument("--user", default="farm")
    parser.add_argument("--python", default=sys.executable, help="what `python3` runs")
    parser.add_argument("--shell", default="/bin/sh", help="what runs commands")
    parser.add_argument("--path", default=SYSTEM, help="the board's PATH, after its own folder")
    parser.add_argument("--no-python", action="store_true", help="a board without Python")
    parser.add_argument("--no-sftp", action="store_true", help="a board without SFTP")
    return parser


def _started(arguments: list[str] | None) -> tuple[Board, dict[str, Any]]:
    """A serving board, and what is told of it."""
    chosen = _parser().parse_args(arguments)
    home = chosen.home.resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not chosen.no_python:
        _bring_python(home, chosen.python)
    key = paramiko.PKey.from_path(chosen.host_key)
    client = HostKey.parse(chosen.client_key)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    own = (not chosen.no_sftp, chosen.shell, chosen.path)
    board = Board(home, chosen.user, key, client, *own, listener)
    threading.Thread(target=_accept_connections, args=(board,), daemon=True).start()
    shown = HostKey(key.get_name(), key.asbytes())
    return board, {"port": listener.getsockname()[1], "host_key": shown.line}


def _obey(line: str, boards: dict[int, Board]) -> dict[str, Any]:
    """Do what a line asks for; what is answered."""
    asked = json.loads(line)
    if "stop" in asked:
        board = boards.pop(int(asked["stop"]), None)
        if board is not None:
            board.stop()
        return {}
    try:
        board, place = _started(asked["start"])
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    boards[place["port"]] = board
    return place


def main(arguments: list[str] | None = None) -> int:
    """Serve until stdin ends or a signal says so."""

    def stop(*_: object) -> None:
        raise SystemExit(0)

    first, place = _started(arguments)
    boards = {place["port"]: first}
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    signal.signal(signal.SIGINT, stop)
    print(json.dumps(place), flush=True)
    try:
        for line in sys.stdin:
            print(json.dumps(_obey(line, boards)), flush=True)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        leaders: set[int] = set()
        for board in boards.values():
            with board.lock:
                leaders |= board.running
            board.listener.close()
        end_sessions(leaders, HANGUP_GRACE_S)
        # Threads may still wait on dead connections: nothing is left for them to finish.
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
