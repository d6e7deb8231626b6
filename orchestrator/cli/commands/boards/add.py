"""`farm boards add`."""

import click

from orchestrator.cli.commands.boards._adding import adding
from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "add",
    "connect a board, check it and write it into the inventory",
    section=Section.BOARDS,
    examples=[
        "farm boards add khadas@192.168.1.20",
        "farm boards add vim3 --name vim3-lab --jump gateway",
    ],
    text="Connect a board, check it and write it into the inventory. TARGET is a host, or a name "
    "of ~/.ssh/config.",
)
@click.argument("target", metavar="[USER@]HOST[:PORT]")
@click.option("--name", help="in the inventory; made of the host's name when left out")
@click.option("--python", metavar="PATH", help="Python 3.6 or later on the board")
@adding
@click.option("--kind", type=types.KIND, help="instead of what the board is recognised as")
@click.option(
    "--host-key",
    metavar="KEY",
    help="the approved host key: SHA256:... or `ssh-ed25519 AAAA...`",
)
@click.option("--jump", metavar="HOST[,HOST]", help="go through these hosts, as with `ssh -J`")
@click.option("--workdir", metavar="DIR", help="farm's folder on the board (~/.farm)")
@options.fleet
def command(
    inventory: str,
    state: str,
    runs: str,
    target: str,
    name: str | None,
    python: str | None,
    key: str | None,
    config: str,
    jump_host_keys: tuple[str, ...],
    yes: bool,
    kind: str | None,
    host_key: str | None,
    jump: str | None,
    workdir: str | None,
) -> int:
    """Add it."""
    from pathlib import Path

    from orchestrator.cli.boards.adding import Adding, Wanted, add, name_of
    from orchestrator.cli.boards.fleet import Places
    from orchestrator.fleet.transport.openssh_config import parse_target

    parsed = parse_target(target)
    wanted = Wanted(parsed, name or name_of(parsed.host), kind, host_key, python, jump, workdir)
    places = Places.named(inventory, state, runs)
    return add(Adding(places, Path(config), key, jump_host_keys, ask=not yes), wanted)
