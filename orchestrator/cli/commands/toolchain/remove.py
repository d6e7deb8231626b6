"""`farm toolchain remove`."""

import click

from orchestrator.cli.parsing import Section, declare


@declare(
    "remove",
    "delete a toolkit's environment",
    section=Section.HERE,
    examples=["farm toolchain remove rknn"],
    text="Delete a toolkit's environment. NAME is rknn.",
)
@click.argument("name")
def command(name: str) -> int:
    """Remove it."""
    from orchestrator.cli.setup.toolchain import remove

    return remove(name)
