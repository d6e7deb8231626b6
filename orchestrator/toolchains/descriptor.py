"""What farm knows of a toolchain: one `Descriptor` in the toolchain's file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.toolchains.base import Toolchain


@dataclass(frozen=True)
class Descriptor:
    """A toolchain of `vendors/`.

    Attributes:
        label: its vendor's name for it, in tables.
        make: the toolchain; its parameters are the options that an inventory may give it.
        twin: the toolchain of its twins, None without one; `twin_label`: whose arithmetic a twin
            models, in tables.
    """

    label: str
    make: Callable[..., Toolchain]
    twin: Callable[[], Toolchain] | None = None
    twin_label: str = ""
