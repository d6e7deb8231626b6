"""`farm boards wipe`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "wipe",
    "remove all files of farm's from a board",
    section=Section.BOARDS,
    examples=["farm boards wipe khadas-vim3"],
)
@click.argument("name", type=types.BOARD)
@options.fleet
def command(inventory: str, state: str, runs: str, name: str) -> int:
    """Do it."""
    from orchestrator.cli.boards.fleet import Places
    from orchestrator.cli.boards.locks import wipe

    return wipe(Places.named(inventory, state, runs), name)
