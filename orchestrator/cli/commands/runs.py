"""`farm runs`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "runs",
    "list the runs that are kept",
    section=Section.RESULTS,
    examples=["farm runs", "farm runs --row khadas-vim3"],
)
@click.option(
    "--row", type=types.ROW, metavar="NAME", help="this row's figures over all runs instead"
)
@options.as_json()
@options.runs()
def command(row: str | None, as_json: bool, runs: str) -> int:
    """List them."""
    from pathlib import Path

    from orchestrator.cli.results.runs import show_runs

    return show_runs(Path(runs), row=row, as_json=as_json)
