"""Where paramiko's and the socket's exceptions become farm's own."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from orchestrator.errors import BoardError, FarmError, TransientError, UserError
from orchestrator.fleet.transport.untrusted import one_line

# Without a handler of its own, paramiko's errors would reach stderr through logging's last resort,
# in the middle of the live console.
_paramiko_log = logging.getLogger("paramiko")
_paramiko_log.addHandler(logging.NullHandler())
_paramiko_log.propagate = False

_OLD_SERVER = (
    "the board's SSH server is too old: it speaks only algorithms built on SHA-1, which farm "
    "refuses. Update it (OpenSSH 7.2 or dropbear 2020.79 and later), or give it a new host key: "
    "`ssh-keygen -t ed25519 -f /etc/ssh/ssh_host_ed25519_key -N ''`, or with dropbear "
    "`dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key`"
)


@contextmanager
def as_farm_errors(board: str, doing: str) -> Iterator[None]:
    """Turn what paramiko and sockets raise inside into farm's exceptions.

    Args:
        board: the board's name, which begins every message.
        doing: what was attempted, as in "while <doing>".

    Raises:
        UserError: the host name is unknown, or the board offers no way in that farm uses.
        BoardError: no common algorithm with the board's SSH server.
        TransientError: any other failure of the link.
    """
    try:
        yield
    except FarmError:
        raise
    except paramiko.IncompatiblePeer as error:
        raise BoardError(
            f"{board}: no common SSH algorithm while {doing} ({one_line(str(error))})", _OLD_SERVER
        ) from error
    except paramiko.ChannelException as error:
        raise TransientError(
            f"{board}: the board refused a new channel while {doing} ({one_line(str(error.text))})",
            "its SSH server may allow too few sessions (MaxSessions in sshd_config)",
        ) from error
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise TransientError(
                f"{board}: host name not resolved while {doing}: {error}"
            ) from error
        raise UserError(
            f"{board}: unknown host name while {doing}",
            "is the name right? `ssh -G NAME` shows what OpenSSH's configuration makes of it",
        ) from error
    except TimeoutError as error:
        raise TransientError(f"{board}: no answer while {doing}") from error
    except ConnectionRefusedError as error:
        raise TransientError(
            f"{board}: connection refused while {doing}",
            "is the board's SSH server running, and is `port` right?",
        ) from error
    except EOFError as error:
        raise TransientError(f"{board}: the board closed the connection while {doing}") from error
    except (paramiko.SSHException, OSError) as error:
        words = one_line(str(error)) or type(error).__name__
        raise TransientError(f"{board}: the link failed while {doing}: {words}") from error
