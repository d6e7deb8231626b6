"""Versions of installed packages, each looked up once a process."""

from __future__ import annotations

import functools
import importlib.metadata


@functools.cache
def installed(name: str) -> str:
    """The version of an installed distribution.

    Raises:
        importlib.metadata.PackageNotFoundError: there is none of that name.
    """
    return importlib.metadata.version(name)
