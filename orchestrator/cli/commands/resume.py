"""`farm resume`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "resume",
    "resume a run that was stopped or lost",
    section=Section.RUN,
    examples=["farm resume", "farm resume 20261128-1200"],
    text="Resume a run that was stopped or lost, under its name: only what is missing is done. RUN "
    "is a run's name, its beginning, or a path to its folder (latest). A run that "
    "`farm run --remote` began goes on there.",
)
@options.run
@options.remote
@options.live
@click.option(
    "--state", type=types.FOLDER, metavar="DIR", help="store, emulated boards, keys (the run's own)"
)
@options.runs()
def command(
    run: str,
    remote: str,
    token_file: str,
    ray_address: str | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    state: str | None,
    runs: str,
) -> int:
    """Resume the run."""
    options.check_one_of(quiet=quiet, verbose=verbose)
    from orchestrator.cli.run.run import resume, shown
    from orchestrator.running import remote_folder

    how = shown(quiet=quiet, verbose=verbose, as_json=as_json)
    folder = remote_folder(runs, run)
    if remote or folder is not None:
        options.not_with_remote("a server", "state", "ray_address")
        from pathlib import Path

        from orchestrator.cli.run.remote import resume_there, server_of

        latest = bool(remote) and run == "latest"
        place = Path(runs) / run if latest or folder is None else folder
        server = server_of(remote, token_file, place)
        assert server is not None
        return resume_there(server, place, how)
    return resume(runs, run, how, state=state, ray_address=ray_address)
