"""`farm boards release`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "release",
    "take a board's lock from its holder, whose run is aborted",
    section=Section.BOARDS,
    examples=["farm boards release khadas-vim3 --reason 'board is mine today'"],
)
@click.argument("name", type=types.BOARD)
@click.option("--reason", metavar="TEXT", required=True, help="its holder reads it")
@options.fleet
def command(inventory: str, state: str, runs: str, name: str, reason: str) -> int:
    """Take it."""
    from orchestrator.cli.boards.fleet import Places
    from orchestrator.cli.boards.locks import release

    return release(Places.named(inventory, state, runs), name, reason)
