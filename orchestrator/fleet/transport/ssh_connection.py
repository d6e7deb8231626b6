"""paramiko's connection with holes closed: a deadlock, two ways to exhaust our memory, a race.

Written against paramiko 4 and 5; it overrides methods that paramiko calls private, and the tests of
renewed keys and of raving peers fail when a later version calls them otherwise.
"""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

import paramiko
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA
from paramiko.packet import Packetizer

# Measured on loopback: a bigger window gains nothing, a smaller one loses a third.
WINDOW = 2 << 20
# OpenSSH refuses packets beyond 256 KiB; paramiko would wait for as much as a damaged or hostile
# length field asks for, up to 4 GiB.
LONGEST_PACKET = 1 << 19


class _Packets(Packetizer):  # type: ignore[misc]
    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if not 0 <= n <= LONGEST_PACKET:
            raise paramiko.SSHException("the peer announced a packet of impossible length")
        data: bytes = super().read_all(n, check_rekey)
        return data


def _bounded(feed: Any) -> Any:
    """Refuse data beyond the window that we granted: an honest peer never sends it."""

    def feed_within_window(channel: Any, message: Any) -> None:
        if len(channel.in_buffer) + len(channel.in_stderr_buffer) > 2 * WINDOW:
            raise paramiko.SSHException("the peer sent more than it was allowed to")
        feed(channel, message)

    return feed_within_window


class Connection(paramiko.Transport):  # type: ignore[misc]
    """`paramiko.Transport`, for either end of a connection."""

    _channel_handler_table: ClassVar[dict[int, Any]] = {
        **paramiko.Transport._channel_handler_table,
        MSG_CHANNEL_DATA: _bounded(paramiko.Channel._feed),
        MSG_CHANNEL_EXTENDED_DATA: _bounded(paramiko.Channel._feed_extended),
    }

    def __init__(self, sock: Any, **options: Any) -> None:
        super().__init__(sock, default_window_size=WINDOW, packetizer_class=_Packets, **options)
        self._held: list[Any] = []
        self._closing: list[Any] = []

    def note_closing(self, channel: Any) -> None:
        """Remember a channel that we are about to close before the peer did."""
        if "dropbear" in self.remote_version:
            self._closing.append(channel)

    def settle(self, timeout_s: float) -> None:
        """Wait until the peer agrees that the noted channels are closed.

        dropbear from 2022.82 to 2024.85 (mkj/dropbear#321) closes a session that was opened but
        has no command yet when a command of another session ends just then: every fourth failed
        here after a close of ours. OpenSSH has no such fault, and may agree to a close only when
        the command has ended.
        """
        end = time.monotonic() + timeout_s
        while self._closing and self.is_active() and time.monotonic() < end:
            self._closing = [c for c in self._closing if self._channels.get(c.chanid) is c]
            time.sleep(0.002)
        self._closing.clear()

    def _send_user_message(self, data: Any) -> None:
        # While keys are renewed nothing else may be sent, so paramiko lets the sender wait. When
        # the sender is the very thread that renews them (it answers a channel's close, say), it
        # would wait for itself: 30 seconds, then an error. Its messages are sent afterwards.
        if threading.current_thread() is self and not self.clear_to_send.is_set():
            self._held.append(data)
            return
        super()._send_user_message(data)

    def _parse_newkeys(self, m: Any) -> None:
        super()._parse_newkeys(m)
        held, self._held = self._held, []
        for data in held:
            self._send_user_message(data)
