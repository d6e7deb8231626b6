"""The program `farm`: the entry point that pip installs."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # `typing` takes as long to import as Python takes to start
if TYPE_CHECKING:
    from typing import NoReturn

ASKED: tuple[list[str], ...] = ([], ["-h"], ["--help"])
# What click makes for a terminal of this width or a wider one, as a test makes sure; to make it
# and to load what it is made of takes four times as long as to start Python.
COLUMNS = 80
HELP_FILE = "commands/help.txt"


def farm() -> NoReturn:
    """The entry point; what is imported here may be interrupted too."""
    if sys.argv[1:] in ASKED and _print_help():
        sys.exit(0)
    from orchestrator.cli.stopping import run

    def main() -> int:
        from orchestrator.cli.main import main

        return main()

    run(main)


def _print_help() -> bool:
    """Print the help of `farm` itself as it is kept; False where it does not fit."""
    if "_FARM_COMPLETE" in os.environ or _columns() < COLUMNS:
        return False
    try:
        with open(os.path.join(os.path.dirname(__file__), HELP_FILE), encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return False
    try:
        print(text, end="", flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is not written yet goes nowhere
        sys.exit(1 if isinstance(error, BrokenPipeError) else f"farm: stdout: {error.strerror}")
    return True


def _columns() -> int:
    """The terminal's width as shutil.get_terminal_size finds it."""
    try:
        asked = int(os.environ.get("COLUMNS", 0))
    except ValueError:
        asked = 0
    try:
        return asked if asked > 0 else os.get_terminal_size(1).columns or COLUMNS
    except OSError:
        return COLUMNS
