"""`farm boards record`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "record",
    "write what a board answers into a file that may be sent to others",
    section=Section.BOARDS,
    examples=["farm boards record orin", "farm boards record orin -o my-orin.board.json"],
    text="Write what a board answers into a file that may be sent to others: probe, the agent's "
    "first frame, the files of /proc and /sys that both read. Names of host, user and board, "
    "serials, MACs and keys are taken out.",
)
@click.argument("name", type=types.BOARD)
@click.option("-o", "--output", type=types.FILE, metavar="FILE", help="(KIND.board.json)")
@options.fleet
def command(inventory: str, state: str, runs: str, name: str, output: str | None) -> int:
    """Record it."""
    from pathlib import Path

    from orchestrator.cli.boards.fleet import Places
    from orchestrator.cli.boards.recording import record

    places = Places.named(inventory, state, runs)
    return record(places, name, Path(output) if output else None)
