"""The folders that a command works in: the project's, and what `--state` and `--runs` name."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from orchestrator.cli.parsing.root import find_root
from orchestrator.cli.parsing.types import Located

if TYPE_CHECKING:
    from pathlib import Path

MATRIX = "matrix.yaml"
INVENTORY = "device_inventory.yaml"
STATE = ".farm"
RUNS = "runs"
PLACES = ("state", "runs")

NO_PROJECT = (
    "there is no project here or in a folder above it (no matrix.yaml, no device_inventory.yaml); "
    "`farm init` begins one"
)


@dataclass
class Where:
    """Where a command works.

    Attributes:
        found: whether there is a project, or none is wanted.
        places: the folders that `--state` and `--runs` name, by option.
    """

    found: bool = True
    places: dict[str, str] = field(default_factory=dict)


def wants_project(ctx: click.Context) -> bool:
    """Whether a command was left to find the project's files itself."""
    return any(
        isinstance(param.type, Located)
        and param.type.of_project
        and ctx.params.get(param.name or "") is not None
        and ctx.get_parameter_source(param.name or "") is ParameterSource.DEFAULT
        for param in ctx.command.params
    )


def enter(ctx: click.Context) -> None:
    """Go to the project's folder when one stands below it; what was typed is meant from here."""
    where = ctx.ensure_object(Where)
    if wants_project(ctx):
        from pathlib import Path

        here = Path.cwd()
        root = find_root(here)
        where.found = root is not None
        if root is not None and root != here:
            for param in ctx.command.params:
                _relocate(ctx, param, here)
            os.chdir(root)
            click.echo(f"farm: in the project {root}", err=True)
    where.places = {f"--{name}": place for name in PLACES if (place := ctx.params.get(name))}


def _relocate(ctx: click.Context, param: click.Parameter, here: Path) -> None:
    name = param.name or ""
    typed = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    if not typed or not isinstance(param.type, Located):
        return
    value = ctx.params[name]
    moved = param.type.moved
    ctx.params[name] = (
        tuple(moved(each, here) for each in value)
        if isinstance(value, tuple)
        else moved(value, here)
    )
