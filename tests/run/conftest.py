"""Fixtures of the fault table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.faulty import IDENTITIES, PLAIN, UNKNOWN, Faulty, calm, copied
from tests.run.project import emulated, entry


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    """A finished project in whose run nothing happened."""
    return calm(tmp_path_factory.mktemp("calm"))


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Features of onnxruntime's uint8 artifact, by role, from a run in which nothing happened."""
    made = Faulty(tmp_path_factory.mktemp("plain"))
    boards = emulated("imx", "imx8mp")
    made.write(entry("imx", PLAIN), boards, IDENTITIES, UNKNOWN)
    done = made.farm("run")
    assert done.returncode == 0, done.stdout + done.stderr
    return {name.removeprefix("imx/"): data for name, data in made.features().items()}


@pytest.fixture
def project(undisturbed: Faulty, tmp_path: Path) -> Faulty:
    """The same project with all but its features."""
    return copied(undisturbed, tmp_path / "p")
