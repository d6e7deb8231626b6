"""Who acts on this computer."""

from __future__ import annotations

import getpass
import socket


def person() -> str:
    """`ann@lab`: as the fleet log names whoever drains or reserves a board."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
