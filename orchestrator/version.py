"""The version of this farm: the git tag that it was installed from (setuptools-scm).

It names a run's maker in reports and provenance. No key in the store depends on it: what changes
results has a version of its own.
"""

from __future__ import annotations

UNKNOWN = "0.0"
"""Of a checkout that was never installed."""


def __getattr__(name: str) -> str:
    # Late: `importlib.metadata` takes longer to import than all that `farm --help` needs.
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("facefarm")
    except PackageNotFoundError:
        return UNKNOWN
