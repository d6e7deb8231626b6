"""The version of this farm: the git tag that it was installed from (setuptools-scm).

It names a run's maker in reports and provenance. No key in the store depends on it: what changes
results has a version of its own.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

UNKNOWN = "0.0"
"""Of a checkout that was never installed."""


def _installed() -> str:
    try:
        return version("facefarm")
    except PackageNotFoundError:
        return UNKNOWN


__version__ = _installed()
