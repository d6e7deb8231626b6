"""farm: how a face-recognition model really behaves on the boards it will ship on.

The calls of `orchestrator.api` can be had from here: `import orchestrator as farm; farm.run(...)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

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


def __getattr__(name: str) -> Any:
    # Late, so that `farm --help` and a board's agent import nothing heavy.
    if name in __all__:
        from orchestrator import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
