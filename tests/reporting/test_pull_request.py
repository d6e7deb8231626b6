"""`farm gate --format github`: a comment that a pull request shows, with the gate's exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.reporting.analysis.compare import RunComparison
from orchestrator.reporting.analysis.gate import Judgement, Limits, Remark
from orchestrator.reporting.analysis.pull_request import MARKER, comment

from .made import T0, Row, make_run

REF = Row("ref", "This host", "host", reference=True, noise=0.8)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    before = [REF, Row("worse", noise=0.8), Row("same", "RK3588", "rk", noise=0.8), Row("gone")]
    after = [
        REF,
        Row("worse", noise=1.3),
        Row("same", "RK3588", "rk", noise=0.8),
        Row("gone", fails="vim3: <b>no</b> answer | at all"),
    ]
    make_run(tmp_path, "20260101-aa", before)
    make_run(tmp_path, "20260102-bb", after, at=T0 + 1e5)
    return tmp_path / "runs"


def test_a_comment_has_a_row_for_each_row_with_figures_verdict_and_reason(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["gate", "20260102-bb", "--baseline", "20260101-aa", "--max-drop", "rank1=0.5"]
    assert main([*words, "--json"]) == 3
    capsys.readouterr()
    assert main([*words, "--format", "github"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == MARKER == "<!-- farm-gate -->"
    assert lines[1] == "### farm gate failed: `20260102-bb` against `20260101-aa`"
    table = [cells(line) for line in lines if line.startswith("| ")]
    assert table[0] == [
        *("Row", "Rank-1: baseline", "Rank-1: now", "Rank-1: difference", "Verdict", "Reason")
    ]
    rows = {line[0].strip("`"): line[1:] for line in table[1:]}
    assert set(rows) == {"ref", "worse", "same", "gone"}
    before, now, change, verdict, reason = rows["worse"]
    assert float(before) > float(now)
    assert change.startswith(f"**{float(now) - float(before):+.2f}** [")
    assert verdict == "❌ FAIL"
    assert "more than 0.5 allowed" in reason
    assert rows["same"][3] == "✅ passed"
    assert rows["gone"][:3] == ["–", "–", "–"]
    assert "&lt;b&gt;no&lt;/b&gt; answer \\| at all" in rows["gone"][4]
    assert "<b>" not in "\n".join(lines)
    opened = lines.index("<details open><summary>Why it failed (2)</summary>")
    assert lines.index("</details>", opened) > opened


def test_a_gate_that_passes_ends_with_0_and_without_rows_with_3(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["gate", "20260101-aa", "--baseline", "20260102-bb", "--max-drop", "rank1=0.5"]
    assert main([*words, "--format", "github"]) == 0
    assert "### farm gate passed" in capsys.readouterr().out
    make_run(runs.parent, "20260103-cc", [Row("x", fails="no")], at=T0 + 2e5)
    words[1] = "20260103-cc"
    assert main([*words, "--format", "github"]) == 3
    said = capsys.readouterr().out
    assert said.startswith(MARKER)
    assert "has no row to judge" in said
    assert main([*words, "--format", "github", "--json"]) == 2


def test_names_and_reasons_are_never_read_as_markup() -> None:
    remark = Remark("a|`b", "warn", "see [x](http://y) @all *now* #3")
    judgement = Judgement((), ("w",), (), judged=1, remarks=(remark,))
    text = comment(RunComparison("a", "b", (), (), ()), judgement, Limits({"rank1": 1.0}, {}))
    assert "| `a/'b` |" in text
    assert r"see \[x\](http://y) \@all \*now\* \#3" in text
