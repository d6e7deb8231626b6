"""`farm watch`."""

import math

import click

from orchestrator.cli.parsing import Section, declare, options, types

SPEED = 10.0


def _speed(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"expected a number from 0 on, not {text!r}")
    return value


@declare(
    "watch",
    "show a run live, or replay one",
    section=Section.RUN,
    examples=["farm watch", "farm watch 20261128-1200 --speed 0", "farm watch --json"],
    text="Show a run live, or replay one that is over. RUN is a run's name, its beginning, or a "
    "path to its folder (latest).",
)
@options.run
@click.option(
    "--speed",
    type=types.Read("number", _speed),
    metavar="X",
    help=f"how much faster a run that is over is replayed; 0: at once ({SPEED:g}; with --json 0)",
)
@options.as_json("each event as a line of JSON; messages on stderr")
@options.runs()
def command(run: str, speed: float | None, as_json: bool, runs: str) -> int:
    """Watch the run."""
    from pathlib import Path

    from orchestrator.cli.results.watch import watch

    if speed is None:
        speed = 0.0 if as_json else SPEED
    return watch(Path(runs), run, speed=speed, as_json=as_json)
