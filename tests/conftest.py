"""What all tests share: outside programs are asked for by name, and may not be missing in CI."""

from __future__ import annotations

import gc
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
PLACES = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"

# How long one example takes says how busy the machine is, not whether the code is right.
# CI draws the same examples each time, as hypothesis itself has it: it judges the change alone.
settings.register_profile("farm", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("farm")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--cov=orchestrator/ROOM`, only the tests of that room are traced."""
    measured = {Path(source).name for source in config.getoption("cov_source", None) or ()}
    for item in items if measured else ():
        room = item.path.relative_to(TESTS).parts[0]
        if room not in measured:
            item.add_marker(pytest.mark.no_cover)


def pytest_collection_finish() -> None:
    """What was imported stays until the end: the collector of garbage need not look at it again."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for tool in marker.args:
            if shutil.which(tool, path=PLACES) is None:
                message = f"needs {tool}, which is not installed"
                if os.environ.get("CI") == "true":
                    pytest.fail(message, pytrace=False)
                pytest.skip(message)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that says what was skipped and why, so that a thin test run is seen as one."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[text.removeprefix("Skipped: ")] += 1
    if reasons:
        said = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"skipped {reasons.total()}: {said}")
