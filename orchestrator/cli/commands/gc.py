"""`farm gc`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "gc",
    "keep the store within a size",
    section=Section.HERE,
    examples=["farm gc --dry-run", "farm gc --max-size 20G"],
    text="Remove what no kept run needs, the longest unused first, until the store, the models in "
    "their normal form and what others have sent are within a size. A run is kept as long as its "
    "folder is there.",
)
@click.option(
    "--max-size",
    type=types.BYTES,
    metavar="SIZE",
    default="10G",
    help="such as 500M (10G)",
)
@click.option("--dry-run", is_flag=True, help="only say what would be removed")
@options.as_json()
@options.state(hidden=True)
@options.runs()
def command(max_size: int, dry_run: bool, as_json: bool, state: str, runs: str) -> int:
    """Remove."""
    from pathlib import Path

    from orchestrator.cli.setup.gc import gc

    return gc(Path(state), Path(runs), most_bytes=max_size, dry_run=dry_run, as_json=as_json)
