"""Who acts on this computer."""

from __future__ import annotations

import getpass
import os
import socket

AS_WHO = "FARM_AS_WHO"
"""For whom a server of this user acts: whoever's token asked for it."""


def person() -> str:
    """`ann@lab`: as the fleet log names whoever drains or reserves a board."""
    if asked := os.environ.get(AS_WHO):
        return asked
    return f"{getpass.getuser()}@{socket.gethostname()}"
