"""Options are answered with the nearest, and may be shortened; each help has examples that work."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from orchestrator.cli.main import command_line, main
from orchestrator.cli.parsing import Command

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "--limits", "3"], "No such option '--limits'. Did you mean '--limit'?"),
        (["boards", "list", "--jsno"], "No such option '--jsno'. Did you mean '--json'?"),
        (["gate", "--max-dorp=rank1=1"], "'--max-drop'"),
        (["completion", "fisch"], "there is no 'fisch'; did you mean 'fish'?"),
        (["boards", "lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["plan", "matrix.yaml", "other.yaml"], "unexpected extra argument (other.yaml)"),
        (["boards"], "see `farm boards --help`"),
        (["run", "--only", "--limit", "3"], "Option '--only' needs a value (NAME)."),
        (["gate", "--max", "rank1=1"], "short for --max-drop and --max-slower"),
        (["run", "-q", "-v"], "--quiet and --verbose do not go together"),
        (["run", "--limit", "0"], "expected a whole number from 1 on, not '0'"),
        (["compare", "a"], "Missing argument 'B'"),
        (["watch", "--speed", "-1"], "expected a number from 0 on, not '-1'"),
    ],
)
def test_what_is_not_there_is_answered_with_the_nearest(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert "--help`" in said.err
    assert said.out == ""


def test_bare_farm_is_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Exit codes" in capsys.readouterr().out


def commands(group: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every command's words, groups included."""
    yield words
    if isinstance(group, click.Group):
        ctx = click.Context(group)
        for name in group.list_commands(ctx):
            found = group.get_command(ctx, name)
            assert found is not None
            yield from commands(found, (*words, name))


EVERY = list(commands(command_line(), ()))


def parsed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a command's function would be given."""
    given: dict[str, Any] = {}

    def invoke(_: Command, ctx: click.Context) -> int:
        given.update(ctx.params)
        return 0

    monkeypatch.setattr(Command, "invoke", invoke)
    assert main(words) == 0
    return given


def test_there_are_as_many_commands_as_before() -> None:
    """A command that is lost in a move would be missed by its users only."""
    assert {words[0] for words in EVERY if words} == {
        *(
            "align",
            "boards",
            "cancel",
            "compare",
            "completion",
            "data",
            "doctor",
            "explain",
            "export",
            "gate",
            "gc",
        ),
        *("init", "plan", "report", "resume", "run", "runs", "schema", "score", "serve"),
        "toolchain",
        "watch",
    }
    assert sum(words[:1] == ("boards",) for words in EVERY) == 20


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_fits_80_columns_and_has_examples_that_can_be_typed(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown
    head, _, tail = shown.partition("\nExamples:\n")
    assert "Usage: " in head
    examples = [line.strip() for line in tail.split("\n\n")[0].splitlines()]
    assert examples
    for line in examples:
        typed = line.partition(" #")[0].partition(" > ")[0].strip().removeprefix('eval "$(')
        found = shlex.split(typed.removesuffix(')"'))
        assert tuple(found[: len(words) + 1]) == ("farm", *words)
        parsed(found[1:], monkeypatch)
    assert main([*words, "-h"]) == 0
    assert capsys.readouterr().out == shown


def test_a_context_of_another_reader_does_not_take_the_short_help_away(
    capsys: pytest.CaptureFixture[str],
) -> None:
    group = command_line()
    assert isinstance(group, click.Group)
    command = group.get_command(click.Context(group), "plan")
    assert command is not None
    # As a builder of documentation has it; click keeps the help option that this builds.
    assert command.get_help(click.Context(command))
    assert main(["plan", "-h"]) == 0
    assert "-h, --help" in capsys.readouterr().out


def test_options_may_be_shortened_come_last_and_take_several_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = parsed(["run", "--lim", "5", "mine.yaml", "--only=a", "--on", "b", "-q"], monkeypatch)
    assert (run["matrix"], run["limit"], run["only"]) == ("mine.yaml", 5, ("a", "b"))
    assert run["quiet"]
    words = [
        "init",
        "there",
        "--mean",
        "-1",
        "2.5",
        "3",
        "--std",
        "1",
        "--colour=BGR",
        "--size=9x8",
    ]
    init = parsed(words, monkeypatch)
    assert (init["folder"], init["mean"], init["std"]) == ("there", (-1.0, 2.5, 3.0), (1.0,))
    assert (init["colour"], init["size"]) == ("BGR", (9, 8))
    score = parsed(["score", "--gallery", "g.npy", "g.csv", "--probes", "p", "q"], monkeypatch)
    assert (score["run"], score["gallery"], score["probes"]) == (
        None,
        ("g.npy", "g.csv"),
        ("p", "q"),
    )
    gate = parsed(["gate", "--max-d", "rank1=1", "x", "--max-drop=tar=2"], monkeypatch)
    assert (gate["run"], gate["max_drop"]) == ("x", ("rank1=1", "tar=2"))
    plan = parsed(["plan", "--simulate", "boards=rv1126:2", "--", "-odd.yaml"], monkeypatch)
    assert plan["matrix"] == "-odd.yaml"


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    words = f"{sys.executable} -m orchestrator.cli.main schema matrix | head -c 10"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", words], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert done.stderr == ""
