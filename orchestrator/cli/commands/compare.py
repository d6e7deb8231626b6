"""`farm compare`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "compare",
    "two runs row by row, by paired statistics",
    section=Section.RESULTS,
    examples=["farm compare 20261127-1200 latest", "farm compare latest published"],
    text="Two runs row by row, by paired statistics. A is a run; B is another, or `published`: "
    "the published table.",
)
@click.argument("first", metavar="A", type=types.RUN)
@click.argument("second", metavar="B", type=types.RUN_OR_PUBLISHED)
@options.as_json()
@options.runs()
def command(first: str, second: str, as_json: bool, runs: str) -> int:
    """Compare them."""
    from pathlib import Path

    from orchestrator.cli.results.compare import compare

    return compare(Path(runs), first, second, as_json=as_json)
