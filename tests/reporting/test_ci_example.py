"""The example workflow: its `farm` commands are real ones, and do what it says."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from orchestrator.cli.main import main
from orchestrator.cli.parsing import Command

from .made import T0, Row, make_run

WORKFLOW = Path(__file__).resolve().parents[2] / "examples" / "ci" / "farm-gate.yml"
REF = Row("ref", "This host", "host", reference=True, noise=0.8)


def commands() -> list[list[str]]:
    workflow = YAML(typ="safe").load(WORKFLOW.read_text())
    lines = [
        line.strip()
        for step in workflow["jobs"]["gate"]["steps"]
        for line in step.get("run", "").splitlines()
    ]
    return [shlex.split(line.partition(" > ")[0])[1:] for line in lines if line.startswith("farm ")]


def test_every_farm_command_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    found = commands()
    assert [words[0] for words in found] == ["run", "gate", "report", "export"]
    monkeypatch.setattr(Command, "invoke", lambda *_: 0)  # read, not carried out
    for words in found:
        assert main(words) == 0


@pytest.mark.parametrize(("noise", "code"), [(0.8, 0), (1.3, 3)])
def test_the_gate_step_judges_a_copied_baseline(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    noise: float,
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    base = make_run(tmp_path, "a", [REF, Row("x", noise=0.8)])
    shutil.copytree(base, tmp_path / "baseline" / "run")
    shutil.rmtree(base)
    make_run(tmp_path, "b", [REF, Row("x", noise=noise)], at=T0 + 100)
    gate = next(words for words in commands() if words[0] == "gate")
    assert main(gate) == code, capsys.readouterr()
    # The workflow finds its comment again by this line.
    assert capsys.readouterr().out.startswith("<!-- farm-gate -->\n")
    assert 'startswith("<!-- farm-gate -->")' in WORKFLOW.read_text()
