"""`farm boards check`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _interval(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if unit not in _SECONDS or not number.isdecimal() or int(number) < 1:
        raise ValueError(f"expected a time such as 30m or 6h, not {text!r}")
    return int(number) * _SECONDS[unit]


@declare(
    "check",
    "check boards by a tiny real inference",
    section=Section.BOARDS,
    examples=["farm boards check khadas-vim3", "farm boards check all --every 6h"],
    text="Check boards by a tiny real inference. NAME is a board, or `all`.",
)
@click.argument("names", type=types.BOARD_OR_ALL, nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--every",
    type=types.Read("time", _interval),
    metavar="TIME",
    help="again and again, such as 30m or 6h, until Ctrl-C; boards in use are skipped",
)
@options.as_json()
@options.fleet
def command(
    inventory: str,
    state: str,
    runs: str,
    names: tuple[str, ...],
    every: float | None,
    as_json: bool,
) -> int:
    """Check them."""
    from orchestrator.cli.boards.check import check_boards
    from orchestrator.cli.boards.fleet import Places

    places = Places.named(inventory, state, runs)
    return check_boards(places, names, every=every, as_json=as_json)
