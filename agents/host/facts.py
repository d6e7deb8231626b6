"""What this board is. Reads files; imports nothing heavy."""

import os
import platform
import socket
from typing import Any, Dict

from .. import VERSION, runtimes
from ..measurement.telemetry import Telemetry, drivers
from ..protocol.wire import PROTOCOL
from . import gpu, identity, libraries, processor
from .files import read_text


def describe(telemetry: Telemetry, root: str = "/") -> Dict[str, Any]:
    """The meta of HELLO.

    `runtimes` maps a runtime's name to its `version` and, when that is known without loading it,
    its `providers`. `identity` is what the head tells by whether this is the board it is called.
    """
    return {
        "protocol": PROTOCOL,
        "agent": VERSION,
        "python": platform.python_version(),
        "hostname": socket.gethostname(),
        "machine": platform.machine(),
        "cpu": processor.name(root),
        "cores": _cores(),
        "memory_bytes": telemetry.memory("MemTotal") or 0,
        "os": _os(root),
        "kernel": platform.release(),
        "gpu": gpu.name(root),
        "model": read_text(os.path.join(root, "proc/device-tree/model"), 200),
        "identity": dict(identity.identity(root), libraries=libraries.libraries(root)),
        "pid": os.getpid(),
        "drivers": drivers(root),
        "runtimes": runtimes.available(),
        "telemetry": telemetry.sample(),
    }


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def _os(root: str) -> str:
    for line in read_text(os.path.join(root, "etc/os-release")).splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip("\"' ")[:200]
    return platform.system()
