"""`farm boards reserve`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types
from orchestrator.reporting.durations import length


@declare(
    "reserve",
    "have a board for yourself for a time, or queue for it",
    section=Section.BOARDS,
    examples=["farm boards reserve khadas-vim3 --for 2h --why 'new driver'"],
    text="Have a board for yourself for a time: runs of others finish the step they do there, then "
    "wait or take another board of the pool. Whoever reserves it next comes after you.",
)
@click.argument("name", type=types.BOARD)
@click.option(
    "--for",
    "seconds",
    type=types.Read("time", length),
    required=True,
    metavar="TIME",
    help="how long: 30min, 2h, 1d",
)
@click.option("--why", metavar="TEXT", default="", help="shown with the board")
@options.fleet
def command(inventory: str, state: str, runs: str, name: str, seconds: float, why: str) -> int:
    """Note it."""
    from orchestrator.cli.boards.entries import reserve
    from orchestrator.cli.boards.fleet import Places

    return reserve(Places.named(inventory, state, runs), name, seconds, why)
