"""Ill-behaved SSH servers for tests: old, silent, talkative."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from paramiko import Message

MODERN = {
    "kex": "curve25519-sha256@libssh.org",
    "host key": "ssh-ed25519",
    "cipher": "aes128-ctr",
    "mac": "hmac-sha2-256",
}
OLD = {
    "kex": "diffie-hellman-group1-sha1",
    "host key": "ssh-rsa",
    "cipher": "3des-cbc",
    "mac": "hmac-md5",
}


@contextmanager
def server(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A loopback server that does `behave` with each connection; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_sockets: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            open_sockets.append(sock)
            threading.Thread(target=quietly, args=(sock,), daemon=True).start()

    def quietly(sock: socket.socket) -> None:
        with suppress(OSError):
            behave(sock)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for sock in open_sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


def old_server(old: str) -> Any:
    """A server as they were long ago in one respect: `kex`, `host key`, `cipher` or `mac`."""
    names = {**MODERN, old: OLD[old]}

    def behave(sock: socket.socket) -> None:
        message = Message()
        message.add_byte(b"\x14")  # KEXINIT
        message.add_bytes(bytes(16))
        for name in ("kex", "host key", "cipher", "cipher", "mac", "mac"):
            message.add_string(names[name])
        for text in ("none", "none", "", ""):
            message.add_string(text)
        message.add_boolean(False)
        message.add_int(0)
        payload = message.asbytes()
        padding = 8 - (len(payload) + 5) % 8 + 8
        packet = (len(payload) + padding + 1).to_bytes(4, "big") + bytes([padding])
        sock.sendall(b"SSH-2.0-dropbear_0.52\r\n" + packet + payload + bytes(padding))
        while sock.recv(4096):
            pass

    return server(behave)
