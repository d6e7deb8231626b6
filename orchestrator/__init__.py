"""farm: how a face-recognition model really behaves on the boards it will ship on.

The calls of `orchestrator.api` can be had from here: `import orchestrator as farm; farm.run(...)`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes as long to import as Python takes to start

__all__ = [
    "__version__",
    "compare",
    "device_times",
    "frame",
    "gate",
    "kept",
    "load",
    "plan",
    "resume",
    "run",
    "searches",
]

if TYPE_CHECKING:
    # Only for type checkers: `import orchestrator` loads nothing.
    from typing import Any

    from orchestrator.api import (
        compare,
        device_times,
        frame,
        gate,
        kept,
        load,
        plan,
        resume,
        run,
        searches,
    )
    from orchestrator.version import __version__


def __getattr__(name: str) -> Any:
    # Late, so that `farm --help` and a board's agent import nothing heavy.
    if name == "__version__":
        from orchestrator.version import __version__

        return __version__
    if name in __all__:
        from orchestrator import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
