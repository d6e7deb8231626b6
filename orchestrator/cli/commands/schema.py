"""`farm schema`."""

import click

from orchestrator.cli.parsing import Section, declare, types

NAMES = ("inventory", "kind", "matrix", "model")


@declare(
    "schema",
    "JSON Schemas of the YAML files, for editors",
    section=Section.HERE,
    examples=["farm schema matrix", "farm schema --out .vscode"],
    text=f"JSON Schemas of the YAML files, for editors. NAME is one of {', '.join(NAMES)}.",
)
@click.argument("name", type=types.Word(NAMES), required=False)
@click.option(
    "--out", type=types.FOLDER, metavar="DIR", help="write farm-NAME.schema.json files there"
)
def command(name: str | None, out: str | None) -> int:
    """Print one schema, or write all of them."""
    from orchestrator.cli.setup.schema import schema

    return schema(name, out, NAMES)
