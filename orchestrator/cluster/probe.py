"""What runs on a Ray node, told by the node itself.

The function is sent to the node with its code, since farm may be missing there or be another one:
it uses the standard library alone.
"""

from __future__ import annotations

from typing import Any


def look() -> dict[str, Any]:
    """This machine's Python, and its farm.

    Returns:
        `host`, `user`, `python` (`3.11`), `executable`, `farm` (version, empty when it is not
        installed), `code` (sha256 of farm's source), `problem` (why it cannot be imported),
        `token` (whether Ray asks for a token there).
    """
    import getpass
    import hashlib
    import os
    import socket
    import sys

    version = problem = code = ""
    try:
        import orchestrator

        version = str(getattr(orchestrator, "__version__", "of an unknown version"))
        root = os.path.dirname(os.path.abspath(orchestrator.__file__))
        found = hashlib.sha256()
        names = []
        for folder, _, files in os.walk(root, followlinks=True):
            names += [os.path.join(folder, name) for name in files if name.endswith(".py")]
        for name in sorted(os.path.relpath(name, root) for name in names):
            with open(os.path.join(root, name), "rb") as file:
                found.update(name.encode() + b"\0" + hashlib.sha256(file.read()).digest())
        code = found.hexdigest()
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    try:
        user = getpass.getuser()
    except Exception:
        user = str(os.getuid())
    return {
        "host": socket.gethostname(),
        "user": user,
        "python": ".".join(map(str, sys.version_info[:2])),
        "executable": sys.executable,
        "farm": version,
        "code": code,
        "problem": problem,
        "token": os.environ.get("RAY_AUTH_MODE", "") == "token",
    }
