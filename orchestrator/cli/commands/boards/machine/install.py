"""`farm boards machine install`."""

import click

from orchestrator.cli.parsing import Section, declare, types
from orchestrator.machines import MACHINES


@declare(
    "install",
    "build a processor's userland; says what it fetches, then asks",
    section=Section.BOARDS,
    examples=["farm boards machine install aarch64", "farm boards machine install armv7l --yes"],
    text="Build a processor's userland of Debian's packages, run by QEMU's user mode; says what it "
    "fetches, then asks. Needs no root. NAME is aarch64 or armv7l.",
)
@click.argument("name", type=types.Word(MACHINES))
@click.option("--mirror", metavar="URL", help="of Debian's packages (the one of this host's apt)")
@click.option("--yes", is_flag=True, help="do not ask")
def command(name: str, mirror: str | None, yes: bool) -> int:
    """Install it."""
    from orchestrator.cli.boards.machines import install

    return install(name, mirror=mirror, agreed=yes)
