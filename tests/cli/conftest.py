"""`farm boards` in a folder and a home of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli.main import main
from tests.cli.servers import EMPTY, Farm


@pytest.fixture
def farm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Farm:
    """Run a command in a folder of its own, with a home of its own; exit code, stdout, stderr."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "device_inventory.yaml").write_text(EMPTY)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["boards", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
