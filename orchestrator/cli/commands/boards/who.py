"""`farm boards who`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "who",
    "who holds a board's lock now",
    section=Section.BOARDS,
    examples=["farm boards who khadas-vim3"],
)
@click.argument("name", type=types.BOARD)
@options.as_json()
@options.fleet
def command(inventory: str, state: str, runs: str, name: str, as_json: bool) -> int:
    """Ask the board."""
    from orchestrator.cli.boards.fleet import Places
    from orchestrator.cli.boards.locks import who

    return who(Places.named(inventory, state, runs), name, as_json=as_json)
