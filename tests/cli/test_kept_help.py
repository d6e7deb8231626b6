"""`farm --help` is printed from a file where that says what click would say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "orchestrator/cli/commands/help.txt"
MAKE = "COLUMNS=80 python -m orchestrator.cli.main --help > orchestrator/cli/commands/help.txt"
PROGRAM = """
import os, sys
from orchestrator.cli.program import farm
try:
    farm()
finally:
    os.write(2, b"click" if "click" in sys.modules else b"kept")
"""


def said(
    program: list[str], *words: str, columns: str = "", stdout: IO[str] | int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *program, *words],
        env={**env, "COLUMNS": columns} if columns else env,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("columns", ["80", "81", "500"])
def test_the_file_is_what_click_makes(columns: str) -> None:
    made = said(["-m", "orchestrator.cli.main"], "--help", columns=columns)
    assert made.stdout == KEPT.read_text(), f"write it: {MAKE}"


@pytest.mark.parametrize("columns", ["", "0", "80", "200"])
@pytest.mark.parametrize("words", [(), ("-h",), ("--help",)])
def test_it_is_printed_without_click(words: tuple[str, ...], columns: str) -> None:
    done = said(["-c", PROGRAM], *words, columns=columns)
    assert (done.returncode, done.stdout, done.stderr) == (0, KEPT.read_text(), "kept")


def test_what_the_file_does_not_answer_goes_to_click() -> None:
    narrow = said(["-c", PROGRAM], "--help", columns="60")
    assert narrow.stderr == "click"
    assert narrow.stdout == said(["-m", "orchestrator.cli.main"], "--help", columns="60").stdout
    assert said(["-c", PROGRAM], "run", "--help").stderr == "click"
    assert said(["-c", PROGRAM], "--hel", columns="80").stdout == KEPT.read_text()


def test_where_it_cannot_be_written_there_is_no_traceback() -> None:
    with open("/dev/full", "w") as full:
        done = said(["-c", PROGRAM], "--help", stdout=full)
    assert (done.returncode, done.stderr) == (1, "keptfarm: stdout: No space left on device\n")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as broken:
        done = said(["-c", PROGRAM], "--help", stdout=broken)
    assert (done.returncode, done.stderr) == (1, "kept")
    closed = f"{sys.executable} -c 'from orchestrator.cli.program import farm; farm()' >&-"
    ended = subprocess.run(closed, shell=True, cwd=ROOT, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (0, b"")
