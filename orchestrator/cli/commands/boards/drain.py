"""`farm boards drain`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "drain",
    "give a board no new work",
    section=Section.BOARDS,
    examples=["farm boards drain khadas-vim3 --reason 'new heat sink'"],
)
@click.argument("name", type=types.BOARD)
@click.option("--reason", metavar="TEXT", default="", help="shown with the board")
@options.fleet
def command(inventory: str, state: str, runs: str, name: str, reason: str) -> int:
    """Note it."""
    from orchestrator.cli.boards.entries import drain
    from orchestrator.cli.boards.fleet import Places

    return drain(Places.named(inventory, state, runs), name, reason)
