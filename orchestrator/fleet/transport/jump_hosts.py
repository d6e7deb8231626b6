"""The way to a board: hosts to jump over, each with its pinned host key, and the login at each."""

from __future__ import annotations

import contextlib
import getpass
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from orchestrator.errors import TransientError, UserError
from orchestrator.fleet.transport.deadline import Deadline, Expired
from orchestrator.fleet.transport.known_keys import HostKey, Pin, check_host_key, pins_of_user
from orchestrator.fleet.transport.ssh_connection import WINDOW, Connection
from orchestrator.fleet.transport.ssh_errors import as_farm_errors
from orchestrator.fleet.transport.ssh_keys import offered_keys
from orchestrator.fleet.transport.untrusted import one_line

# How long sent bytes may stay unacknowledged before the kernel gives the connection up. Only the
# keepalives make sure that there are such bytes.
UNACKNOWLEDGED_S = 20
# AES-GCM first: the cheapest in CPU per byte where both ends have it. No CBC, no 3DES, no MD5.
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
_MACS = (
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha1",
)


@dataclass(frozen=True)
class Place:
    """An SSH server and how to log in there; None where OpenSSH's own choice holds.

    `host_key` is the pinned key, `ssh-ed25519 AAAA…` or `SHA256:…`.
    """

    host: str
    port: int = 22
    user: str | None = None
    key_file: str | None = None
    host_key: str | None = None


class Way:
    """Connects host after host, the board last, each through the one before.

    Raises:
        UserError: a `host_key` is not one.
    """

    def __init__(
        self, board: str, places: Sequence[Place], known_hosts: Path, use_agent: bool
    ) -> None:
        self.board = board
        self._known_hosts, self._use_agent = known_hosts, use_agent
        self._places = [
            (place, () if place.host_key is None else (Pin.parse(place.host_key),))
            for place in places
        ]

    def connect(self, deadline: Deadline, *, login: bool = True) -> list[Any]:
        """Connections to all hosts, the board's last; on an error none stays open.

        Args:
            deadline: for everything together.
            login: whether to trust the board and log in there; the hosts before it always are.

        Raises:
            TransientError, BoardError, UserError: as `SshTransport.connect`.
        """
        clients: list[Any] = []
        try:
            for place, own in self._places:
                pins = own or pins_of_user(place.host, place.port, self._known_hosts)
                over = clients[-1] if clients else None
                clients.append(
                    _shake_hands(self.board, place.host, place.port, pins, deadline, over)
                )
                if not login and len(clients) == len(self._places):
                    break
                address = f"{place.host}:{place.port}"
                check_host_key(pins, _shown_key(clients[-1]), board=self.board, address=address)
                self._authenticate(place, clients[-1], deadline)
        except BaseException as error:
            close_all(clients)
            # What paramiko raises at its timeouts has many names.
            if isinstance(error, TransientError) and deadline.over:
                raise Expired(error.message, error.hint) from error
            raise
        return clients

    def _authenticate(self, place: Place, connection: Any, deadline: Deadline) -> None:
        user = getpass.getuser() if place.user is None else place.user
        login = f"{user}@{place.host}"
        file = None if place.key_file is None else Path(place.key_file).expanduser()
        tried: list[str] = []
        has_rsa = False
        for name, key in offered_keys(self.board, file, self._use_agent):
            tried.append(name)
            has_rsa = has_rsa or key.get_name() == "ssh-rsa"
            connection.auth_timeout = max(0.1, deadline.remaining())
            try:
                with as_farm_errors(self.board, f"logging in as {user}"):
                    try:
                        more = connection.auth_publickey(user, key)
                    except paramiko.BadAuthenticationType as error:
                        ways = one_line(", ".join(error.allowed_types)) or "nothing"
                        raise UserError(
                            f"{self.board}: {login} does not accept keys; it offers {ways}",
                            "farm logs in with keys only: allow PubkeyAuthentication on the board",
                        ) from error
                    except paramiko.AuthenticationException:
                        if deadline.expired or not connection.is_active():
                            raise
                        continue
            except TransientError:
                if len(tried) > 1 and not deadline.expired:
                    break  # too many refused keys: the server hung up
                raise
            if more:
                raise UserError(
                    f"{self.board}: after the key, {login} also wants " + one_line(", ".join(more)),
                    "farm logs in with a key alone",
                )
            return
        if not tried:
            raise UserError(
                f"{self.board}: no private key to log in with as {login}",
                "make one with `ssh-keygen -t ed25519`, bring it to the board with `ssh-copy-id`, "
                "and name it as `key` of the board's entry, or with `--key`",
            )
        banner = one_line(connection.get_banner() or b"")
        says = f"; the board says: {banner}" if banner else ""
        rsa = "; an old server may refuse RSA keys: use ed25519" if has_rsa else ""
        raise UserError(
            f"{self.board}: {login} refused our key ({', '.join(tried)}){says}",
            "add the public key to the board's ~/.ssh/authorized_keys, for example with "
            f"`ssh-copy-id -p {place.port} {login}`{rsa}",
        )


def scan_host_key(
    board: str,
    host: str,
    port: int,
    timeout_s: float,
    jump: Sequence[Place] = (),
    known_hosts: Path = Path("~/.ssh/known_hosts"),
) -> HostKey:
    """The host key that a machine shows, for a person to approve. Nothing is sent to it.

    Args:
        jump: hosts on the way there, which must be approved already.

    Raises:
        TransientError, BoardError, UserError: as `SshTransport.connect`.
    """
    deadline = Deadline(timeout_s)
    way = Way(board, (*jump, Place(host, port)), known_hosts.expanduser(), use_agent=True)
    connections = way.connect(deadline, login=False)
    try:
        return _shown_key(connections[-1])
    finally:
        close_all(connections)


def _shown_key(connection: Any) -> HostKey:
    key = connection.get_remote_server_key()
    return HostKey(key.get_name(), key.asbytes())


def _shake_hands(
    board: str, host: str, port: int, pins: Sequence[Pin], deadline: Deadline, over: Any = None
) -> Any:
    """Connect and agree on keys, up to but without any authentication.

    Args:
        over: the connection to the host before, through which this one goes.
    """
    doing = f"connecting to {host}:{port}"
    with as_farm_errors(board, doing):
        sock: Any
        if over is not None:
            sock = _forwarded(board, over, host, port, deadline)
        else:
            sock = socket.create_connection((host, port), timeout=max(0.1, deadline.remaining()))
        try:
            if over is None:
                _tune(sock)
            connection = Connection(sock)
        except BaseException:
            sock.close()
            raise
        try:
            options = connection.get_security_options()
            options.ciphers = _CIPHERS
            options.digests = _MACS
            # Of several host keys, ask for one that is pinned.
            pinned = {pin.key.kind for pin in pins if pin.key is not None}
            options.key_types = _pinned_first(tuple(options.key_types), pinned)
            left = max(0.1, deadline.remaining())
            connection.banner_timeout = connection.handshake_timeout = left
            connection.start_client(timeout=left)
            if not connection.initial_kex_done:
                raise TransientError(f"{board}: no SSH answer within {deadline.seconds:g} s")
        except BaseException:
            close_all([connection])
            raise
        return connection


def _pinned_first(kinds: tuple[str, ...], pinned: set[str]) -> tuple[str, ...]:
    # An RSA key signs with SHA-2 under names of its own.
    wanted = pinned | ({"rsa-sha2-512", "rsa-sha2-256"} if "ssh-rsa" in pinned else set())
    return tuple(sorted(kinds, key=lambda kind: kind not in wanted))


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_S * 1000)


def _forwarded(board: str, over: Any, host: str, port: int, deadline: Deadline) -> Any:
    """A byte stream to `host` that the host before forwards."""
    try:
        return over.open_channel(
            "direct-tcpip",
            (host, port),
            ("127.0.0.1", 0),
            window_size=WINDOW,
            timeout=max(0.1, deadline.remaining()),
        )
    except paramiko.ChannelException as error:
        peer = ":".join(map(str, over.getpeername()[:2]))
        if error.code == 1:  # administratively prohibited
            raise UserError(
                f"{board}: the jump host {peer} does not forward connections",
                "`AllowTcpForwarding yes` in its sshd_config lets it",
            ) from error
        raise TransientError(
            f"{board}: the jump host {peer} does not reach {host}:{port} "
            f"({one_line(str(error.text))})",
            "is the board on, and is its address right as seen from the jump host?",
        ) from error


def shut(connection: Any) -> None:
    """End a connection's stream at once."""
    with contextlib.suppress(OSError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def close_all(connections: Sequence[Any]) -> None:
    """Close the connections of a way, the board's own first."""
    for connection in reversed(connections):
        shut(connection)  # wakes paramiko's reader at once instead of at its next poll
        connection.close()
