"""What libraries print while the driver plans: kept off the console's terminal.

A signal that interrupts the import of a compiled library makes some of them print a panic, and
Ctrl-C is to be answered with one line.
"""

from __future__ import annotations

import os


def capture() -> None:
    """From here on this process's standard error goes into a file in memory."""
    with open(os.memfd_create("stderr"), "r+b", buffering=0) as stored:
        os.dup2(stored.fileno(), 2)


def captured() -> bytes:
    """What has been printed since `capture`."""
    return os.pread(2, os.fstat(2).st_size, 0)
