"""`farm boards list`."""

import click

from orchestrator.cli.parsing import Section, declare, options


@declare(
    "list",
    "every board: place, state, last check, versions, temperature",
    section=Section.BOARDS,
    examples=["farm boards list", "farm boards list --live"],
)
@click.option("--live", is_flag=True, help="ask each board who uses it now")
@options.as_json()
@options.fleet
def command(inventory: str, state: str, runs: str, live: bool, as_json: bool) -> int:
    """Print the fleet."""
    from orchestrator.cli.boards.fleet import Places
    from orchestrator.cli.boards.shown import show_list

    return show_list(Places.named(inventory, state, runs), live=live, as_json=as_json)
