"""`farm toolchain install`."""

import click

from orchestrator.cli.parsing import Section, declare, types


@declare(
    "install",
    "make a toolkit's own environment; says size and licence, then asks",
    section=Section.HERE,
    examples=["farm toolchain install rknn", "farm toolchain install rknn --yes"],
    text="Make a toolkit's own environment; says size and licence, then asks. NAME is rknn.",
)
@click.argument("name")
@click.option(
    "--find-links",
    type=types.FOLDER,
    metavar="DIR",
    multiple=True,
    help="a folder of wheels that pip looks into as well; may be repeated",
)
@click.option("--python", type=types.FILE, metavar="PATH", help="the interpreter to make it of")
@click.option("--yes", is_flag=True, help="do not ask; the licence is agreed to")
def command(name: str, find_links: tuple[str, ...], python: str | None, yes: bool) -> int:
    """Install it."""
    from orchestrator.cli.setup.toolchain import install

    return install(name, find_links=find_links, python=python, agreed=yes)
