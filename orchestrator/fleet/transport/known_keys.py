"""Host keys: how they are written, pinned and compared. No board is trusted unseen."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import BoardError, UserError

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?")
_PIN_HINT = (
    "host_key is a line such as `ssh-ed25519 AAAA…` (from the board's "
    "/etc/ssh/ssh_host_ed25519_key.pub) or a fingerprint such as `SHA256:…`"
)


@dataclass(frozen=True)
class HostKey:
    """A public key as SSH writes it: its kind, and the blob that base64 text stands for."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """`SHA256:` and the unpadded base64 of the blob's SHA-256, as `ssh-keygen -l` shows it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode()
        return "SHA256:" + digest.rstrip("=")

    @property
    def line(self) -> str:
        """`<kind> <base64>`, what stands in a .pub file and in the inventory."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @classmethod
    def parse(cls, line: str) -> HostKey:
        """Read `<kind> <base64> [comment]`.

        Raises:
            UserError: it is not such a line, or kind and blob disagree.
        """
        words = line.split()
        if len(words) < 2:
            raise UserError(f"not a public key: {line[:60]!r}", _PIN_HINT)
        kind, text = words[0], words[1]
        try:
            blob = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise UserError(f"not a public key: {line[:60]!r}", _PIN_HINT) from None
        size = int.from_bytes(blob[:4], "big")
        if blob[4 : 4 + size] != kind.encode("utf-8", "replace"):
            raise UserError(f"this public key says {kind} but holds another: {line[:60]!r}")
        return cls(kind, blob)


class UnknownHostKey(UserError):
    """A board without a pinned key showed one: `host_key` is what a person must approve."""

    def __init__(self, message: str, hint: str, host_key: HostKey) -> None:
        super().__init__(message, hint)
        self.host_key = host_key


class ChangedHostKey(BoardError):
    """The board's key is not the pinned one; nothing was sent to it."""

    def __init__(self, message: str, hint: str, host_key: HostKey) -> None:
        super().__init__(message, hint)
        self.host_key = host_key


@dataclass(frozen=True)
class Pin:
    """The one host key a board may show: whole, or by its fingerprint."""

    fingerprint: str
    key: HostKey | None

    @classmethod
    def parse(cls, text: str) -> Pin:
        """Read `ssh-ed25519 AAAA…` or `SHA256:…`.

        Raises:
            UserError: it is neither.
        """
        text = text.strip()
        if _FINGERPRINT.fullmatch(text):
            return cls(text.rstrip("="), None)
        if text.startswith("SHA256:"):
            raise UserError(f"not a key fingerprint: {text[:60]!r}", _PIN_HINT)
        key = HostKey.parse(text)
        return cls(key.fingerprint, key)


def check_host_key(pins: Sequence[Pin], shown: HostKey, *, board: str, address: str) -> None:
    """Refuse a host key that was not pinned.

    Raises:
        UnknownHostKey: nothing is pinned for this board.
        ChangedHostKey: another key is pinned.
    """
    if not pins:
        raise UnknownHostKey(
            f"{board}: the host key of {address} is not known: {shown.kind} {shown.fingerprint}",
            "compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the board; if "
            f"they agree, add this to the board's entry in device_inventory.yaml:\n"
            f"    host_key: {shown.line}",
            shown,
        )
    if shown.fingerprint not in {pin.fingerprint for pin in pins}:
        raise ChangedHostKey(
            f"{board}: {address} shows another host key than the pinned one: pinned "
            f"{' or '.join(pin.fingerprint for pin in pins)}, shown {shown.fingerprint} "
            f"({shown.kind})",
            "another machine may be answering in its place; nothing was sent. If the board was "
            "reinstalled, check the fingerprint at its console and change host_key in "
            f"device_inventory.yaml to:\n    host_key: {shown.line}",
            shown,
        )


def pins_of_user(host: str, port: int, known_hosts: Path) -> tuple[Pin, ...]:
    """The keys that the user has already approved for a host with `ssh` itself."""
    from paramiko import HostKeys

    known = HostKeys()
    try:
        known.load(str(known_hosts))
    except OSError:
        return ()
    keys = known.lookup(host if port == 22 else f"[{host}]:{port}") or {}
    found = (HostKey(kind, keys[kind].asbytes()) for kind in keys)
    return tuple(Pin(key.fingerprint, key) for key in found)
