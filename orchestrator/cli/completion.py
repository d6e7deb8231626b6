"""`farm completion SHELL`: what a shell needs to complete farm's commands, runs and boards."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

SHELLS = ("bash", "zsh", "fish", "tcsh")
USE = {
    "bash": 'eval "$(farm completion bash)"   # in ~/.bashrc',
    "zsh": "farm completion zsh > ~/.zfunc/_farm   # a folder of fpath",
    "fish": "farm completion fish > ~/.config/fish/completions/farm.fish",
    "tcsh": "farm completion tcsh > ~/.farm.tcsh; source ~/.farm.tcsh",
}
# Read by the shell at each Tab: starting farm for it would be felt.
PREAMBLE = {
    "bash": """\
_farm_words() { compgen -W "$1" -- "$2"; }
_farm_runs() { _farm_words "latest $(command ls -1 runs 2>/dev/null)" "$1"; }
_farm_boards() {
  _farm_words "$(command sed -n 's/^ *- *name: *//p' device_inventory.yaml 2>/dev/null)" "$1"
}
""",
    "zsh": """\
_farm_runs() { compadd -- latest ${(f)"$(command ls -1 runs 2>/dev/null)"} }
_farm_boards() {
  compadd -- ${(f)"$(command sed -n 's/^ *- *name: *//p' device_inventory.yaml 2>/dev/null)"}
}
""",
    "tcsh": "",
}
RUNS = {"bash": "_farm_runs", "zsh": "_farm_runs", "tcsh": ""}
BOARDS = {"bash": "_farm_boards", "zsh": "_farm_boards", "tcsh": ""}


def add_parser(commands: Any) -> None:
    """Add `completion` to the command line."""
    made = commands.add_parser(
        "completion",
        help="completion for your shell",
        description="Print what your shell needs to complete farm's words.",
        epilog="\n".join(f"  {line}" for line in USE.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.set_defaults(call=completion)
    made.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def completion(arguments: argparse.Namespace) -> int:
    """Print the completion script of a shell."""
    from orchestrator.cli.main import parser

    top = parser()
    if arguments.shell == "fish":
        from orchestrator.cli.fish import script

        print(script(top), end="")
        return 0
    import shtab

    for command, action in _actions(top):
        words = _words(command, action, shtab)
        if words is not None:
            action.complete = words  # type: ignore[attr-defined]
    print(shtab.complete(top, shell=arguments.shell, preamble=PREAMBLE[arguments.shell]))
    return 0


def _words(command: str, action: argparse.Action, shtab: Any) -> Any:
    """What an argument is completed with, None where there is nothing to offer."""
    if action.dest in ("run", "first", "second", "baseline"):
        return RUNS
    of_boards = command.startswith("farm boards ") and not action.option_strings
    if action.dest == "only" or (of_boards and action.dest in ("name", "names")):
        return BOARDS
    if action.dest == "matrix" or action.metavar == "FILE":
        return shtab.FILE
    return shtab.DIRECTORY if action.metavar == "DIR" else None


def _actions(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for found in dict.fromkeys(action.choices.values()):
                yield from _actions(found)
        elif action.option_strings not in (["-h", "--help"], ["--version"]):
            yield parser.prog, action
