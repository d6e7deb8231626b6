"""`farm boards machine remove`."""

import click

from orchestrator.cli.parsing import Section, declare, types
from orchestrator.machines import MACHINES


@declare(
    "remove",
    "delete a processor's userland",
    section=Section.BOARDS,
    examples=["farm boards machine remove armv7l"],
)
@click.argument("name", type=types.Word(MACHINES))
def command(name: str) -> int:
    """Delete it."""
    from orchestrator.cli.boards.machines import remove

    return remove(name)
