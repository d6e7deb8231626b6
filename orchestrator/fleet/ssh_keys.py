"""Which private keys may prove who we are: from a file, or from the user's ssh-agent."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko

from orchestrator.errors import UserError

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
            "check `key` in device_inventory.yaml",
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


def offered_keys(board: str, key_file: Path | None, use_agent: bool) -> Iterator[tuple[str, Any]]:
    """The keys to offer, in order, each with the words that name it in a message.

    A key file that the entry names comes first and must be usable; without one, the usual files of
    `~/.ssh` are offered where they are fit. At most `MAX_KEYS` are offered.

    Raises:
        UserError: the named key file cannot be used.
    """
    keys: list[tuple[str, Any]] = []
    if key_file is not None:
        keys.append((str(key_file), load_key(board, key_file)))
    if use_agent and os.environ.get("SSH_AUTH_SOCK"):
        try:
            agent_keys = paramiko.Agent().get_keys()
        except (paramiko.SSHException, OSError):
            agent_keys = ()
        keys.extend((f"ssh-agent key {key.fingerprint}", key) for key in agent_keys)
    if key_file is None:
        for name in _DEFAULT_FILES:
            path = Path("~/.ssh").expanduser() / name
            if path.is_file():
                try:
                    keys.append((str(path), load_key(board, path)))
                except UserError:
                    continue
    yield from keys[:MAX_KEYS]
