"""One served project for the tests that only look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.reporting.export.files import write_results
from tests.reporting.made import Row, Size, fleet, make_run, troubles

from .site import Site, serving

SMALL = Size(40, 20)


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, the second with rows of all sorts."""
    root = tmp_path_factory.mktemp("served")
    two = [Row("ref", "This host", "host", reference=True), Row("vim3", lot=1)]
    make_run(root, "20260101-000000-aaaa", two, size=SMALL)
    make_run(
        root, "20260102-000000-bbbb", fleet(), at=1_700_100_000.0, size=SMALL, extra=troubles()
    )
    for folder in ("20260101-000000-aaaa", "20260102-000000-bbbb"):
        write_results(root / "runs" / folder)
    return root


@pytest.fixture(scope="package")
def site(project: Path) -> Iterator[Site]:
    with serving(project) as found:
        yield found
