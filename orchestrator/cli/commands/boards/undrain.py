"""`farm boards undrain`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "undrain",
    "give a board work again",
    section=Section.BOARDS,
    examples=["farm boards undrain khadas-vim3"],
)
@click.argument("name", type=types.BOARD)
@options.fleet
def command(inventory: str, state: str, runs: str, name: str) -> int:
    """Do it."""
    from orchestrator.cli.boards.entries import undrain
    from orchestrator.cli.boards.fleet import Places

    return undrain(Places.named(inventory, state, runs), name)
