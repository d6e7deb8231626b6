"""Options that several commands share, so that they are named and meant alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from orchestrator.cli.parsing import types
from orchestrator.cli.parsing.project import INVENTORY, MATRIX, RUNS, STATE
from orchestrator.columns import column_names

F = TypeVar("F", bound=Callable[..., Any])
COLUMNS = column_names()


def state(text: str = "store, emulated boards, keys", *, hidden: bool = False) -> Callable[[F], F]:
    """`--state DIR`."""
    return click.option(
        "--state",
        type=types.Located("dir", of_project=True),
        metavar="DIR",
        default=STATE,
        help=f"{text} ({STATE})",
        hidden=hidden,
    )


def runs(text: str = "where runs are kept", *, hidden: bool = False) -> Callable[[F], F]:
    """`--runs DIR`."""
    return click.option(
        "--runs",
        type=types.Located("dir", of_project=True),
        metavar="DIR",
        default=RUNS,
        help=f"{text} ({RUNS})",
        hidden=hidden,
    )


def matrix(function: F) -> F:
    """The matrix, left out or named."""
    argument = click.argument(
        "matrix", type=types.Located("file", of_project=True), default=MATRIX, required=False
    )
    return argument(function)


def inventory(text: str = "the boards") -> Callable[[F], F]:
    """`--inventory FILE`, found beside the matrix where it is left out."""
    return click.option("--inventory", type=types.FILE, metavar="FILE", help=text)


def fleet(function: F) -> F:
    """`--inventory`, `--state` and `--runs` of a command that works on the fleet."""
    option = click.option(
        "--inventory",
        type=types.Located("file", of_project=True),
        metavar="FILE",
        default=INVENTORY,
        help=f"the boards ({INVENTORY})",
    )
    return option(state(hidden=True)(runs("where the fleet log is")(function)))


def as_json(text: str = "for programs") -> Callable[[F], F]:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def run(function: F) -> F:
    """A kept run; the newest where it is left out."""
    argument = click.argument("run", type=types.RUN, default="latest", required=False)
    return argument(function)


def selection(function: F) -> F:
    """`--inventory`, `--only` and `--limit`: which rows, and how much of the test set."""
    for option in (
        click.option(
            "--limit",
            type=types.COUNT,
            metavar="N",
            help="only N gallery identities, probes in proportion; rows are marked partial",
        ),
        click.option(
            "--only",
            type=types.ROW_OR_BOARD,
            metavar="NAME",
            multiple=True,
            help="only this row, entry, board or kind; may be repeated",
        ),
        inventory("the boards (device_inventory.yaml beside the matrix, or in this folder)"),
    ):
        function = option(function)
    return function


def remote(function: F) -> F:
    """`--remote` and `--token-file`: a `farm serve` server that has the boards."""
    for option in (
        click.option(
            "--token-file",
            type=types.FILE,
            metavar="FILE",
            default="",
            help="with the token for --remote (the variable FARM_TOKEN, or the link's ?token=)",
        ),
        click.option(
            "--remote",
            metavar="URL",
            default="",
            help="on the farm server there: `farm serve --allow-actions` prints its link",
        ),
    ):
        function = option(function)
    return function


def not_with_remote(remote: str, *names: str) -> None:
    """Refuse options that a run on a server cannot have.

    Args:
        names: of their parameters.

    Raises:
        click.UsageError: one was typed.
    """
    context = click.get_current_context()
    typed = [n for n in names if context.get_parameter_source(n) is ParameterSource.COMMANDLINE]
    if remote and typed:
        option = "--" + typed[0].replace("_", "-")
        raise click.UsageError(f"{option} is of this computer; with --remote the server's is used.")


def live(function: F) -> F:
    """`--ray-address`, `-q`, `-v` and `--json`: where a run is made and how it is shown."""
    for option in (
        as_json("each event as a line of JSON when it happens; messages on stderr"),
        click.option(
            "-v", "--verbose", is_flag=True, help="every line, progress too; no live view"
        ),
        click.option("-q", "--quiet", is_flag=True, help="only warnings, errors and the table"),
        click.option(
            "--ray-address",
            metavar="HOST:PORT",
            help="join this Ray cluster, whose nodes drive the boards of their sites "
            "(a Ray head of farm's own: `local`)",
        ),
    ):
        function = option(function)
    return function


def columns(function: F) -> F:
    """`--columns NAME,...`."""
    option = click.option(
        "--columns",
        type=types.Words(COLUMNS, "column"),
        metavar="NAME,...",
        default=(),
        help=f"beside the published ones: {', '.join(COLUMNS)} (the matrix's `table: columns:`)",
    )
    return option(function)


def check_one_of(**given: bool) -> None:
    """Refuse options that do not go together.

    Raises:
        click.UsageError: more than one is given.
    """
    said = [f"--{name}" for name, value in given.items() if value]
    if len(said) > 1:
        raise click.UsageError(f"{' and '.join(said)} do not go together.")
