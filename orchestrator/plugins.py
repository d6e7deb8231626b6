"""Names of the toolchains: the files of farm's own folder, and other distributions' entry points.

Loads none of them.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

GROUP = "farm.toolchains"
VENDORS = Path(__file__).parent / "toolchains" / "vendors"


@cache
def built_in_toolchains() -> tuple[str, ...]:
    """Names of farm's own toolchains, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules([str(VENDORS)])))


@cache
def other_toolchains() -> Mapping[str, str]:
    """`module:class` of each toolchain that another distribution brings, by its name."""
    found = {point.name: point.value for point in entry_points(group=GROUP)}
    return {name: value for name, value in found.items() if name not in built_in_toolchains()}


def toolchain_names() -> tuple[str, ...]:
    """Every name that a matrix may have under `toolchain:`, sorted."""
    return tuple(sorted({*built_in_toolchains(), *other_toolchains()}))
