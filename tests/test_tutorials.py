"""Every code block of every page is run, compared, checked, or says why it is not run.

The Python of the tutorials runs here in order, and its output is compared with the page's. Their
commands run in one slow test. Blocks elsewhere that nothing runs are checked: YAML has only keys
that farm knows, commands only options that it has.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from docs.builder.blocks import (
    ROOT,
    RUN_BY,
    TUTORIALS,
    Block,
    blocks_of,
    counts,
    difference,
    pages,
    same,
)
from orchestrator.cli.main import command_line
from orchestrator.specs.schema import schema_of

from .run.project import Project

BLOCKS = [block for page in pages() for block in blocks_of(page)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / "models" / "synthface-ir.onnx", tmp_path / "face.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS)
def test_the_python_of_a_tutorial_prints_what_it_says(page: str, folder: Path) -> None:
    names: dict[str, Any] = {}
    printed, run = "", 0
    for block in blocks_of(page):
        if block.how == "run" and block.language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(block.text, block.where, "exec"), names)
            printed, run = out.getvalue(), run + 1
        elif block.how == "compared" and printed:
            wrong = difference(block.text, block.mark, printed)
            assert not wrong, f"{block.where}: {wrong}"
            printed = ""
        elif block.language == "sh":
            printed = ""
    assert run >= 8


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.parametrize("page", TUTORIALS)
def test_the_commands_of_a_tutorial_print_what_it_says(page: str, tmp_path: Path) -> None:
    project = Project(tmp_path, variables={"FARM": str(ROOT), "COLUMNS": "160"})
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "farm").write_text(
        f'#!/bin/sh\nexec {sys.executable} -m orchestrator.cli.main "$@"\n'
    )
    (programs / "farm").chmod(0o755)
    environment = project.environment
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    printed = ""
    for block in blocks_of(page):
        if block.mark.startswith("file: "):
            (tmp_path / block.mark.removeprefix("file: ")).write_text(block.text)
        elif block.mark.startswith("add to: "):
            with open(tmp_path / block.mark.removeprefix("add to: "), "a") as file:
                file.write(block.text)
        elif block.how == "run" and block.language == "sh":
            for line in block.text.splitlines():
                printed = run(line, tmp_path, environment)
        elif block.how == "compared" and printed:
            wrong = difference(block.text, block.mark, printed)
            assert not wrong, f"{block.where}: {wrong}"
            printed = ""
        elif block.language == "python":
            printed = ""


def run(line: str, folder: Path, environment: dict[str, str]) -> str:
    """What a command of a page prints; it must end well."""
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_each_block_says_how_it_is_proved(record_property: Any) -> None:
    unproved = [block.where for block in BLOCKS if not block.how]
    assert not unproved, f"run them, or write `<!-- not run: why -->` above: {unproved}"
    assert all(len(block.mark) > len("not run: ") + 8 for block in BLOCKS if block.how == "not run")
    drawings = "".join(block.text for block in BLOCKS if block.how == "drawing")
    assert not re.search(r"^(farm|python|make) [^─\n]*$", drawings, re.MULTILINE), (
        "commands are ```sh"
    )
    indented = "".join((ROOT / page).read_text() for page in pages())
    assert not re.search(r"^    (farm|python|make) ", indented, re.MULTILINE), "fence commands"
    for file in {*RUN_BY.values()}:
        assert (ROOT / file).exists()
    found = counts(pages())
    record_property("blocks", dict(found))
    print(f"code blocks: {dict(found)}")
    assert found["run"] >= 23
    assert found["run"] + found["written"] + found["compared"] > found["not run"]


def known_keys() -> set[str]:
    """Every key of the four kinds of YAML file, at any depth, and words that are keys there."""
    found: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            found.update(node.get("properties", {}))
            found.update(node.get("discriminator", {}).get("mapping", {}))
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    for name in ("matrix", "inventory", "model", "kind"):
        walk(schema_of(name))
    return found


# Names of toolchains; keys of a workflow of GitHub's.
NAMES = {"rknn1", "tengine", "rknn"}


def keys_in(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key)
            yield from keys_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from keys_in(value)


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.how == "checked"], ids=lambda block: block.where
)
def test_a_block_that_is_not_run_has_only_keys_that_there_are(block: Block) -> None:
    if block.language == "json":
        json.loads(block.text)
        return
    document = YAML(typ="safe").load(block.text)
    assert isinstance(document, (dict, list))
    unknown = set(keys_in(document)) - known_keys() - NAMES
    assert not unknown, f"{block.where}: {unknown}"


def farm_lines() -> list[tuple[str, str]]:
    """Each command line of farm's in the pages' shell blocks."""
    found = []
    for block in BLOCKS:
        if block.language == "sh":
            for line in block.text.splitlines():
                for part in re.split(r"[;|]", line.split("#")[0]):
                    if words := re.match(r"\s*(?:[A-Z_]+='?[^ ]*'? )*(farm .+)", part):
                        found.append((block.where, words[1].strip()))
    return found


def test_commands_in_the_text_are_commands() -> None:
    """`farm ...` within a sentence: the command exists, and so do its options."""
    wrong, seen = [], 0
    root = command_line()
    above = click.Context(root, info_name="farm")
    for page in pages():
        if page == "CHANGELOG.md":  # tells of commands that were
            continue
        for line in re.findall(r"`farm ([a-z][^`]*)`", (ROOT / page).read_text()):
            words, command, context = line.split(), root, above
            while isinstance(command, click.Group) and words and words[0] != "...":
                found = command.get_command(context, words[0])
                if found is None:
                    wrong.append(f"{page}: farm {line}")
                    break
                command, words = found, words[1:]
                context = click.Context(command, info_name=command.name, parent=context)
            known = {name for option in command.get_params(context) for name in option.opts}
            options = {word.split("=")[0] for word in words if word.startswith("--")}
            wrong += [f"{page}: farm {line}: {name}" for name in options - known]
            seen += 1
    assert wrong == ["CONTRIBUTING.md: farm hello"]  # a recipe's
    assert seen > 100


@pytest.mark.parametrize(("where", "line"), farm_lines())
def test_a_command_line_has_only_what_the_parser_takes(where: str, line: str) -> None:
    words = shlex.split(line.split(" > ")[0])[1:]
    command: click.Command = command_line()
    context = click.Context(command, info_name="farm")
    while isinstance(command, click.Group):
        assert words, f"{where}: {line}"
        found = command.get_command(context, words[0])
        assert found is not None, f"{where}: there is no command {words[0]}"
        command, words = found, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    command.make_parser(context).parse_args(words)  # UsageError names what it does not know


def test_an_output_that_differs_is_seen() -> None:
    assert same("a 1.50 b", "a 1.52 b", 0.05)
    assert not same("a 1.50 b", "a 1.60 b", 0.05)
    assert not same("a 1.50 b", "a 1.51 b", 0.0)
    assert same("took ... s", "took 3 s", 0.0)
    assert not difference("one\n...\nfour", "output", "one\ntwo\nthree\nfour\n")
    assert difference("one\n...\nfive", "output", "one\ntwo\nthree\nfour\n")
    assert difference("one\ntwo", "output", "one\n")
    assert difference("one", "output", "one\ntwo\n")
