"""Completion for fish, written from the parser: the library that does the other shells has none."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

# Read by the shell at each Tab: starting farm for it would be felt.
PREAMBLE = """\
function __farm_runs
    echo latest
    command ls -1 runs 2>/dev/null
end
function __farm_boards
    command sed -n 's/^ *- *{*name: *\\([^,]*\\).*/\\1/p' device_inventory.yaml 2>/dev/null
end
function __farm_words
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        string match -q -- '-*' $word; or echo $word
    end
end
function __farm_is
    set -l words (__farm_words)
    test (count $words) -ge (count $argv); or return 1
    for i in (seq (count $argv))
        test "$words[$i]" = "$argv[$i]"; or return 1
    end
end
function __farm_at
    set -l words (__farm_words)
    test (count $words) -eq (count $argv); and __farm_is $argv
end
complete -c farm -f
"""
RUNS = frozenset({"run", "first", "second", "baseline"})
BOARDS = frozenset({"name", "names"})


def script(parser: argparse.ArgumentParser) -> str:
    """What fish reads."""
    return PREAMBLE + "\n".join(_lines(parser, ())) + "\n"


def _lines(parser: argparse.ArgumentParser, path: tuple[str, ...]) -> Iterator[str]:
    here = f"-n '__farm_is {' '.join(path)}'" if path else "-n 'test -z (__farm_words)[1]'"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            at = f"-n '__farm_at {' '.join(path)}'" if path else "-n '__farm_at'"
            told = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, made in action.choices.items():
                yield f"complete -c farm {at} -a {name} -d {_quoted(told.get(name, ''))}"
                yield from _lines(made, (*path, name))
        elif action.option_strings:
            yield " ".join(["complete -c farm", here, *_option(action), *_value(action, path)])
        elif words := _value(action, path):
            yield " ".join(["complete -c farm", here, *words])


def _option(action: argparse.Action) -> Iterator[str]:
    for name in action.option_strings:
        yield f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
    if action.nargs != 0:
        yield "-r"
    if action.help and action.help != argparse.SUPPRESS:
        yield f"-d {_quoted(action.help.partition('(%')[0].replace('%%', '%'))}"


def _value(action: argparse.Action, path: tuple[str, ...]) -> list[str]:
    """What an argument is completed with."""
    if action.choices is not None:
        return [f"-a {_quoted(' '.join(map(str, action.choices)))}"]
    if action.dest in RUNS:
        return ["-a '(__farm_runs)'"]
    of_boards = path[:1] == ("boards",) and not action.option_strings
    if action.dest == "only" or (of_boards and action.dest in BOARDS):
        return ["-a '(__farm_boards)'"]
    if action.dest == "matrix" or action.metavar == "FILE":
        return ["-F"]
    return ["-a '(__fish_complete_directories)'"] if action.metavar == "DIR" else []


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").strip() + "'"
