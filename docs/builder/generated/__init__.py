"""Pages that are generated from the code, so that they say what it does: site path, text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

PAGES: Mapping[str, Callable[[], str]] = {}
