"""`farm boards show`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "show",
    "all that is known of a board",
    section=Section.BOARDS,
    examples=["farm boards show khadas-vim3"],
)
@click.argument("name", type=types.BOARD)
@options.as_json()
@options.fleet
def command(inventory: str, state: str, runs: str, name: str, as_json: bool) -> int:
    """Print the board."""
    from orchestrator.cli.boards.fleet import Places
    from orchestrator.cli.boards.shown import show_one

    return show_one(Places.named(inventory, state, runs), name, as_json=as_json)
