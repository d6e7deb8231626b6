"""`farm gc`."""

import re

import click

from orchestrator.cli.parsing import Section, declare, options, types

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def size(text: str) -> int:
    """Bytes of `500M`, `10GiB` or `1024`.

    Raises:
        ValueError: it is no size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a size such as 500M or 20G, not {text!r}")
    return int(float(found[1]) * _UNITS[found[2].upper()])


@declare(
    "gc",
    "keep the store within a size",
    section=Section.HERE,
    examples=["farm gc --dry-run", "farm gc --max-size 20G"],
    text="Remove what no kept run needs, the longest unused first, until the store and the models "
    "in their normal form are within a size. A run is kept as long as its folder is there.",
)
@click.option(
    "--max-size",
    type=types.Read("size", size),
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
