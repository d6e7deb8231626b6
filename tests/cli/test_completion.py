"""Completion, asked of a real bash as Tab does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ASK = """\
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"
_shtab_farm
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "farm.bash"
    command = [sys.executable, "-m", "orchestrator.cli.main", "completion", "bash"]
    path.write_bytes(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "runs" / "20261124-0900").mkdir(parents=True)
    (tmp_path / "matrix.yaml").touch()
    (tmp_path / "device_inventory.yaml").write_text("boards:\n  - name: vim3-lab\n    kind: x\n")
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("farm re", {"report", "resume"}),
        ("farm report ", {"latest", "20261124-0900"}),
        ("farm compare latest 2", {"20261124-0900"}),
        ("farm boards show v", {"vim3-lab"}),
        ("farm run --only v", {"vim3-lab"}),
        ("farm run m", {"matrix.yaml"}),
        ("farm gate --max-d", {"--max-drop"}),
        ("farm completion z", {"zsh"}),
    ],
)
def test_bash_completes(typed: str, expected: set[str], script: Path, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", ASK, "bash", str(script), *typed.split(" ")],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    assert expected <= set(done.stdout.split())
    assert all(word.startswith(typed.split(" ")[-1]) for word in done.stdout.split())


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_get_a_script(shell: str) -> None:
    command = [sys.executable, "-m", "orchestrator.cli.main", "completion", shell]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "remeasure" in done.stdout
