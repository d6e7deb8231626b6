"""`farm boards remove`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "remove",
    "take a board out of the inventory",
    section=Section.BOARDS,
    examples=["farm boards remove khadas-vim3"],
)
@click.argument("name", type=types.BOARD)
@options.fleet
def command(inventory: str, state: str, runs: str, name: str) -> int:
    """Do it."""
    from orchestrator.cli.boards.entries import remove
    from orchestrator.cli.boards.fleet import Places

    return remove(Places.named(inventory, state, runs), name)
