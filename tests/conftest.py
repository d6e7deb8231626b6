"""What all tests share: outside programs are asked for by name, and may not be missing in CI."""

from __future__ import annotations

import os
import shutil

import pytest

PLACES = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for tool in marker.args:
            if shutil.which(tool, path=PLACES) is None:
                message = f"needs {tool}, which is not installed"
                if os.environ.get("CI") == "true":
                    pytest.fail(message, pytrace=False)
                pytest.skip(message)
