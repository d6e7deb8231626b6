"""Completion, asked of real shells as Tab does; zsh's and tcsh's protocol where there is no such
shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from orchestrator.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
ASK = """\
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"
_farm_completion "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""
CASES = [
    ("farm re", {"report", "resume"}),
    ("farm report ", {"latest", "20261124-0900"}),
    ("farm compare latest 2", {"20261124-0900"}),
    ("farm compare latest p", {"published"}),
    ("farm boards ", {"list", "check", "drain", "import"}),
    ("farm boards show v", {"vim3-lab"}),
    ("farm boards check a", {"all"}),
    ("farm boards add board --kind rv112", {"rv1126"}),
    ("farm run --only v", {"vim3-lab"}),
    ("farm explain w", {"worst-row*"}),
    ("farm runs --row w", {"worst-row*"}),
    ("farm gate --max-d", {"--max-drop"}),
    ("farm export --format par", {"parquet"}),
    ("farm completion z", {"zsh"}),
    ("farm schema m", {"matrix", "model"}),
]


# Each costs a shell and an interpreter; the words are the same for every shell.
IN_SHELLS = [case for case in CASES if case[0] in ("farm re", "farm report ", "farm boards show v")]


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of PATH with this farm in it."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "farm"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m orchestrator.cli.main "$@"\n'
    )
    program.chmod(0o755)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder below a project with a run and a board."""
    run = tmp_path / "runs" / "20261124-0900"
    run.mkdir(parents=True)
    (tmp_path / "runs" / "latest").symlink_to(run.name)
    (run / "events.jsonl").write_text(json.dumps({"cells": [{"name": "worst-row*"}]}) + "\n")
    (tmp_path / "matrix.yaml").touch()
    (tmp_path / "device_inventory.yaml").write_text("boards:\n  - name: vim3-lab\n    kind: x\n")
    below = tmp_path / "below"
    below.mkdir()
    (below / "mine.yaml").touch()
    return below


def environment(bin_folder: Path, home: Path) -> dict[str, str]:
    return {"PATH": f"{bin_folder}:/usr/bin:/bin", "HOME": str(home), "TERM": "dumb"}


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(("typed", "expected"), IN_SHELLS)
def test_bash_completes(
    typed: str,
    expected: set[str],
    bin_folder: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "farm.bash"
    file.write_text(script("bash", capsys))
    done = subprocess.run(
        ["bash", "-c", ASK, "bash", str(file), *typed.split(" ")],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env=environment(bin_folder, tmp_path),
    )
    assert done.stderr == ""
    assert expected <= set(done.stdout.split())
    assert all(word.startswith(typed.split(" ")[-1]) for word in done.stdout.split())


@pytest.mark.needs("fish")
@pytest.mark.parametrize(("typed", "expected"), [*IN_SHELLS, ("farm run m", {"mine.yaml"})])
def test_fish_completes(
    typed: str,
    expected: set[str],
    bin_folder: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "farm.fish"
    file.write_text(script("fish", capsys))
    done = subprocess.run(
        ["fish", "--no-config", "-c", f'source {file}; complete -C "{typed}"'],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env=environment(bin_folder, tmp_path),
    )
    assert done.stderr == ""
    found = {line.split("\t")[0] for line in done.stdout.splitlines()}
    assert expected <= found
    assert all(word.startswith(typed.split(" ")[-1]) for word in found)


def asked(variables: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("typed", "expected"), CASES)
def test_zsh_is_answered(
    typed: str,
    expected: set[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "#compdef farm" in script("zsh", capsys)
    words = {"_FARM_COMPLETE": "zsh_complete", "COMP_WORDS": typed}
    words["COMP_CWORD"] = str(typed.count(" "))
    asked(words, folder, monkeypatch)
    assert main([]) == 0
    kind, word = capsys.readouterr().out.splitlines()[:2]
    assert kind == "plain"
    assert word in expected or len(expected) > 1


@pytest.mark.needs("zsh")
def test_zsh_completes(bin_folder: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "farm.zsh").write_text(script("zsh", capsys))
    shell = pexpect.spawn(
        "zsh",
        ["-f", "-i"],
        cwd=str(folder),
        env={**environment(bin_folder, folder), "TERM": "vt100"},
        encoding="utf-8",
        timeout=60,
    )
    shell.sendline("autoload -Uz compinit; compinit -u -D; . ./farm.zsh; echo ready$((1 + 1))")
    shell.expect("ready2")
    shell.send("farm boards show v\t")
    shell.expect("vim3-lab")
    shell.close(force=True)


@pytest.mark.needs("tcsh")
def test_tcsh_completes(bin_folder: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "farm.tcsh").write_text(script("tcsh", capsys))
    shell = pexpect.spawn(
        "tcsh",
        ["-f"],
        cwd=str(folder),
        env={**environment(bin_folder, folder), "TERM": "vt100"},
        encoding="utf-8",
        timeout=30,
    )
    shell.sendline("set prompt='READY> '")
    shell.expect("\nREADY> ")
    shell.sendline("source farm.tcsh")
    shell.expect("READY> ")
    for typed, becomes in (("farm resu\t", "me "), ("farm boards show vi\t", "m3-lab ")):
        shell.send(typed)
        shell.expect_exact(becomes)
        shell.send("\x15")
    shell.send("farm run mi\t")
    shell.expect_exact("ne.yaml")
    shell.close(force=True)


def test_what_is_asked_wrongly_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_FARM_COMPLETE", "nosuch_complete")
    assert main([]) == 1
    assert capsys.readouterr().out == ""
    assert os.environ["_FARM_COMPLETE"]
