"""`farm boards unreserve`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "unreserve",
    "give a reserved board back before its time",
    section=Section.BOARDS,
    examples=["farm boards unreserve khadas-vim3"],
)
@click.argument("name", type=types.BOARD)
@click.option("--of", "whose", metavar="WHO", default="", help="of somebody else: user@computer")
@options.fleet
def command(inventory: str, state: str, runs: str, name: str, whose: str) -> int:
    """Note it."""
    from orchestrator.cli.boards.entries import unreserve
    from orchestrator.cli.boards.fleet import Places

    return unreserve(Places.named(inventory, state, runs), name, whose)
