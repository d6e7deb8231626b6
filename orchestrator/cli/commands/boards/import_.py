"""`farm boards import`."""

import click

from orchestrator.cli.commands.boards._adding import adding
from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "import",
    "add every host of an OpenSSH configuration or a list",
    section=Section.BOARDS,
    examples=["farm boards import", "farm boards import hosts.txt --key ~/.ssh/boards"],
    text="Add every host of an OpenSSH configuration or a list (~/.ssh/config).",
)
@click.argument("file", type=types.FILE, default="~/.ssh/config", required=False)
@adding
@options.fleet
def command(
    inventory: str,
    state: str,
    runs: str,
    file: str,
    key: str | None,
    config: str,
    jump_host_keys: tuple[str, ...],
    yes: bool,
) -> int:
    """Add them."""
    from pathlib import Path

    from orchestrator.cli.boards.adding import Adding, import_hosts
    from orchestrator.cli.boards.fleet import Places

    places = Places.named(inventory, state, runs)
    asked = Adding(places, Path(config), key, jump_host_keys, ask=not yes)
    return import_hosts(asked, Path(file))
