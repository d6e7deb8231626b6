"""Files in other projects' wheels, which are installed and never imported."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest


def shipped(package: str, name: str) -> Path:
    """A file of an installed package; the test is skipped without it, and fails in CI."""
    found = importlib.util.find_spec(package)
    places = found.submodule_search_locations if found else None
    path = Path(places[0]) / name if places else None
    if path is None or not path.is_file():
        message = f"needs {package}'s {name}: make setup-real"
        if os.environ.get("CI") == "true":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return path
