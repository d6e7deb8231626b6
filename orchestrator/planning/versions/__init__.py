"""Versions that do not fit each other: a file's toolkit, its runtime, the accelerator's driver.

Each file here but `reading.py` is the rule of the runtime of its name: `mismatches(opened, told,
toolkit)`. Pure. What is not reported gives no word. Each word has both versions and what to do.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

__all__ = ["mismatches", "of_runtimes", "rules"]


@cache
def rules() -> tuple[str, ...]:
    """The runtimes that have a rule."""
    return tuple(m.name for m in pkgutil.iter_modules(__path__) if m.name != "reading")


def of_runtimes(
    runtimes: Mapping[str, str], identity: Mapping[str, Any], toolkit: str = ""
) -> tuple[str, ...]:
    """What does not fit on a board whose runtimes were looked at but not opened.

    Args:
        runtimes: name to the version that the board tells.
        identity: the `identity` of its facts, with their `drivers`.
        toolkit: what makes the board's files here, with its version; empty where nothing does.
    """
    words: list[str] = []
    for name in sorted(runtimes):
        words += mismatches(name, {"version": runtimes[name]}, identity, toolkit)
    return tuple(words)


def mismatches(
    runtime: str, opened: Mapping[str, Any], identity: Mapping[str, Any], toolkit: str = ""
) -> tuple[str, ...]:
    """What does not fit where a runtime opened a file.

    Args:
        runtime: its name.
        opened: its facts: `version`, and in `facts` what it read of file and driver.
        identity: the `identity` of the board's facts, with their `drivers`.
        toolkit: what made the file, with its version.
    """
    if runtime not in rules():
        return ()
    return tuple(import_module(f"{__name__}.{runtime}").mismatches(opened, identity, toolkit))
