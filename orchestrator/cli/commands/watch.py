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
    "path to its folder (latest). A run that `farm run --remote` began is taken up again.",
)
@options.run
@click.option(
    "--speed",
    type=types.Read("number", _speed),
    metavar="X",
    help=f"how much faster a run that is over is replayed; 0: at once ({SPEED:g}; with --json 0)",
)
@options.remote
@options.as_json("each event as a line of JSON; messages on stderr")
@options.runs()
def command(
    run: str, speed: float | None, remote: str, token_file: str, as_json: bool, runs: str
) -> int:
    """Watch the run."""
    from pathlib import Path

    from orchestrator.cli.results.watch import watch
    from orchestrator.cli.run.still_there import still_there
    from orchestrator.running import remote_folder

    folder = remote_folder(runs, run)
    if remote or (folder is not None and still_there(folder)):
        from orchestrator.cli.run.remote import server_of, watch_there
        from orchestrator.cli.run.run import shown

        place = folder or Path(runs) / run
        server = server_of(remote, token_file, place)
        assert server is not None
        how = shown(quiet=False, verbose=False, as_json=as_json)
        name = run if remote and run == "latest" else place.name
        return watch_there(server, Path(runs), name, how)
    if speed is None:
        speed = 0.0 if as_json else SPEED
    return watch(Path(runs), run, speed=speed, as_json=as_json)
