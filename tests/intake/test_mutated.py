"""Damaged models are taken or refused in words; see `mutated.py`, which does more of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.run.project import ROOT


@pytest.mark.parametrize(
    ("first", "count"),
    [(0, 30), pytest.param(30, 270, marks=pytest.mark.slow)],
)
def test_none_ends_in_a_traceback(first: int, count: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.intake.mutated", str(first), str(count)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    lines = [line.split("\t") for line in done.stdout[:-1].split("\n")]
    assert done.returncode == 0, done.stdout[-300:] + done.stderr[-2000:]
    assert len(lines) == count
    wrong = [line for line in lines if line[2] not in ("refused", "taken")]
    assert not wrong
    assert all(word.isprintable() for line in lines for word in line), "safe for a terminal"
    assert all(len(line[4]) > 20 for line in lines if line[2] == "refused")
    assert sum(line[2] == "refused" for line in lines) > count / 2
    assert not done.stderr.strip(), "what onnxruntime says comes in the error, once"
