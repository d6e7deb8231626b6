"""Which private keys may prove who we are: from a file, or from the user's ssh-agent."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko

from orchestrator.errors import UserError
from orchestrator.fleet.transport.known_keys import HostKey

# OpenSSH's server hangs up after six tries by default.
MAX_KEYS = 5
_DEFAULT_FILES = ("id_ed25519", "id_ecdsa", "id_rsa")


def load_key(board: str, path: Path) -> Any:
    """Read a private key, refusing one that others on this machine can read.

    Raises:
        UserError: it is missing, readable by others, protected by a passphrase, or no key.
    """
    try:
        info = path.stat()
    except OSError as error:
        raise UserError(
            f"{board}: the private key {path} cannot be read: {error.strerror}",
            "check `key` of the board's entry, or `--key`",
        ) from error
    if not stat.S_ISREG(info.st_mode):
        raise UserError(f"{board}: the private key {path} is not a file")
    if info.st_mode & 0o077:
        raise UserError(
            f"{board}: the private key {path} can be read by other users "
            f"(mode {stat.S_IMODE(info.st_mode):04o}), so it is not used",
            f"chmod 600 {path}",
        )
    try:
        return paramiko.PKey.from_path(path)
    except (paramiko.PasswordRequiredException, TypeError) as error:
        raise UserError(
            f"{board}: the private key {path} is protected by a passphrase",
            f"unlock it in your agent with `ssh-add {path}`, and leave `key` out",
        ) from error
    except Exception as error:
        # cryptography and paramiko raise a dozen unrelated types for a damaged key file.
        raise UserError(
            f"{board}: {path} is not a private key that farm can read ({type(error).__name__})",
            "expected an OpenSSH or PEM private key: ed25519, ECDSA or RSA",
        ) from error


def _agent_keys() -> tuple[Any, ...]:
    if not os.environ.get("SSH_AUTH_SOCK"):
        return ()
    try:
        return tuple(paramiko.Agent().get_keys())
    except (paramiko.SSHException, OSError):
        return ()


def _public_half(path: Path) -> bytes | None:
    """The public key's blob that stands beside a private key, or in `path` itself."""
    for place in (path, path.with_name(path.name + ".pub")):
        try:
            if place.suffix == ".pub":
                return HostKey.parse(place.read_text()).blob
        except (OSError, UserError, ValueError):
            continue
    return None


def offered_keys(board: str, key_file: Path | None, use_agent: bool) -> Iterator[tuple[str, Any]]:
    """The keys to offer, in order, each with the words that name it in a message.

    A key file that the entry names comes first and must be usable, by itself or by the agent that
    holds the key whose public half lies beside it; without one, the usual files of
    `~/.ssh` are offered where they are fit. At most `MAX_KEYS` are offered.

    Raises:
        UserError: the named key file cannot be used.
    """
    keys: list[tuple[str, Any]] = []
    in_agent = _agent_keys() if use_agent else ()
    if key_file is not None:
        # OpenSSH's `IdentityFile` names a key; its secret half may be in the agent alone.
        blob = _public_half(key_file)
        unlocked = next((key for key in in_agent if key.asbytes() == blob), None)
        keys.append((str(key_file), unlocked or load_key(board, key_file)))
        in_agent = tuple(key for key in in_agent if key is not unlocked)
    keys.extend((f"ssh-agent key {key.fingerprint}", key) for key in in_agent)
    if key_file is None:
        for name in _DEFAULT_FILES:
            path = Path("~/.ssh").expanduser() / name
            if path.is_file():
                try:
                    keys.append((str(path), load_key(board, path)))
                except UserError:
                    continue
    yield from keys[:MAX_KEYS]
