"""Options are answered with the nearest; bare `farm` is its help; fish completes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "--limits", "3"], "there is no option '--limits'; did you mean '--limit'?"),
        (["boards", "list", "--jsno"], "there is no option '--jsno'; did you mean '--json'?"),
        (["gate", "--max-dorp=rank1=1"], "there is no option '--max-dorp'; did you mean"),
        (["completion", "fisch"], "there is no SHELL 'fisch'; did you mean 'fish'?"),
        (["boards", "lst"], "there is no command 'lst'; did you mean 'list'?"),
        (["plan", "matrix.yaml", "other.yaml"], "unexpected: other.yaml"),
    ],
)
def test_what_is_not_there_is_answered_with_the_nearest(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(words)
    assert raised.value.code == 2
    assert says in capsys.readouterr().err


def test_bare_farm_is_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "exit codes" in capsys.readouterr().out


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "farm.fish"
    command = [sys.executable, "-m", "orchestrator.cli.main", "completion", "fish"]
    path.write_bytes(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    return path


@pytest.mark.needs("fish")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("farm re", {"report", "resume"}),
        ("farm report ", {"latest", "20261124-0900"}),
        ("farm boards ", {"list", "check", "drain"}),
        ("farm boards show v", {"vim3-lab"}),
        ("farm run --only v", {"vim3-lab"}),
        ("farm gate --max-d", {"--max-drop"}),
        ("farm completion f", {"fish"}),
        ("farm run m", {"matrix.yaml"}),
    ],
)
def test_fish_completes(typed: str, expected: set[str], script: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / "20261124-0900").mkdir(parents=True)
    (tmp_path / "matrix.yaml").touch()
    (tmp_path / "device_inventory.yaml").write_text("boards:\n  - name: vim3-lab\n    kind: x\n")
    done = subprocess.run(
        ["fish", "--no-config", "-c", f'source {script}; complete -C "{typed}"'],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.stderr == ""
    found = {line.split("\t")[0] for line in done.stdout.splitlines()}
    assert expected <= found
    assert all(word.startswith(typed.split(" ")[-1]) for word in found)
