"""`farm report`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "report",
    "draw a run as one self-contained HTML file",
    section=Section.RESULTS,
    examples=["farm report", "farm report 20261128-1200 --output report.html"],
    text="Draw a run as one self-contained HTML file. RUN is a run's name, its beginning, or a "
    "path to its folder (the newest with a row).",
)
@options.run
@options.columns
@click.option(
    "--output", type=types.FILE, metavar="FILE", help="where to (report.html in its folder)"
)
@options.as_json()
@options.runs()
def command(
    run: str, columns: tuple[str, ...], output: str | None, as_json: bool, runs: str
) -> int:
    """Write the report."""
    from pathlib import Path

    from orchestrator.cli.results.report import report

    return report(Path(runs), run, output=output, columns=columns, as_json=as_json)
