"""`farm plan --simulate`: what a person would buy, before buying it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli.main import main
from tests.run.project import FLOAT, HOST, Project, emulated

POOL = "  - {name: p, boards: {kind: khadas-vim3}, quantization: uint8 per-tensor asymmetric}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    Project(tmp_path).write(FLOAT + POOL, HOST + emulated("v", "khadas-vim3"), 5000, 1000)
    return tmp_path


def test_more_boards_take_less_time_and_nothing_is_touched(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = []
    for count in (1, 20):
        assert main(["plan", "--simulate", f"boards=khadas-vim3:{count}"]) == 0
        said = capsys.readouterr().out
        assert "lower bound " in said
        (line,) = (line for line in said.splitlines() if line.startswith("khadas-vim3-1"))
        shares.append(int(line.split(" %")[0].split()[-1]))
    assert shares[1] < shares[0]
    assert sorted(path.name for path in project.iterdir()) == [
        "device_inventory.yaml",
        "matrix.yaml",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("boards=khadas-vim:3", "did you mean 'khadas-vim3'"),
        ("khadas-vim3:3", "expected boards=KIND:N"),
        ("boards=rv1126:0", "N from 1 to"),
        ("boards=rv1126:x", "expected boards=KIND:N"),
    ],
)
def test_mistakes_are_told(
    project: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    assert main(["plan", "--simulate", text]) == 2
    assert says in capsys.readouterr().err
