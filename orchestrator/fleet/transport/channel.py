"""What a transport offers: commands, files and byte channels, each with a deadline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class CommandResult:
    """A finished remote command. `status` is the exit status, or -1 when the board gave none."""

    status: int
    stdout: bytes
    stderr: bytes


class Channel(Protocol):
    """A running remote command, its stdin and stdout as a duplex stream of bytes."""

    def read(self, limit: int) -> bytes:
        """Up to `limit` bytes of stdout, blocking; b"" at its end.

        Raises:
            TransientError: the link died.
        """

    def write(self, data: bytes | memoryview) -> None:
        """Hand all of `data` to the command's stdin, blocking.

        Raises:
            TransientError: the link died or the command closed its stdin.
        """

    def close(self) -> None:
        """End the channel; a blocked `read` or `write` of another thread returns or raises."""

    def stderr_tail(self) -> str:
        """The last 8 KiB of stderr, terminal control characters removed."""

    def exit_status(self, timeout_s: float) -> int | None:
        """The command's exit status, None when it did not end within `timeout_s`."""


class Transport(Protocol):
    """A way to one board. Every call has a deadline and may be made from any thread."""

    def connect(self, timeout_s: float) -> None:
        """Reach the board and prove its identity.

        Raises:
            TransientError: it did not answer.
            BoardError: its host key is not the pinned one.
            UserError: our key was refused or the entry is wrong.
        """

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float) -> CommandResult:
        """Run a shell command to its end; at most 1 MiB of each output stream is kept."""

    def open(self, command: str, *, timeout_s: float) -> Channel:
        """Start a shell command and return its byte channel."""

    def put(
        self,
        data: bytes,
        remote: str,
        *,
        mode: int,
        timeout_s: float,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Write `data` to the remote path `remote` (no check, no rename: see `deploying`).

        Uses SFTP, or `cat` over exec where the board has no SFTP. `progress` receives bytes sent.
        """

    def close(self) -> None:
        """Drop the connection; running commands lose their channel."""
