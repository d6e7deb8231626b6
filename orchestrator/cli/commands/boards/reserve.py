"""`farm boards reserve`."""

import re

import click

from orchestrator.cli.parsing import Section, declare, options, types

_UNITS = {"min": 60.0, "h": 3600.0, "d": 86400.0}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(min|h|d)")
LONGEST_D = 31


def length(text: str) -> float:
    """Seconds of `30min`, `2h` or `1.5d`.

    Raises:
        ValueError: it is no length of time, or longer than a month.
    """
    found = _LENGTH.fullmatch(text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= LONGEST_D * 86400:
        expected = f"30min, 2h or 1d, up to {LONGEST_D}d"
        raise ValueError(f"expected a time such as {expected}, not {text!r}")
    return seconds


@declare(
    "reserve",
    "have a board for yourself for a time, or queue for it",
    section=Section.BOARDS,
    examples=["farm boards reserve khadas-vim3 --for 2h --why 'new driver'"],
    text="Have a board for yourself for a time: runs of others finish the step they do there, then "
    "wait or take another board of the pool. Whoever reserves it next comes after you.",
)
@click.argument("name", type=types.BOARD)
@click.option(
    "--for",
    "seconds",
    type=types.Read("time", length),
    required=True,
    metavar="TIME",
    help="how long: 30min, 2h, 1d",
)
@click.option("--why", metavar="TEXT", default="", help="shown with the board")
@options.fleet
def command(inventory: str, state: str, runs: str, name: str, seconds: float, why: str) -> int:
    """Note it."""
    from orchestrator.cli.boards.entries import reserve
    from orchestrator.cli.boards.fleet import Places

    return reserve(Places.named(inventory, state, runs), name, seconds, why)
