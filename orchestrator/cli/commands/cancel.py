"""`farm cancel`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "cancel",
    "stop a run that goes on",
    section=Section.RUN,
    examples=["farm cancel 20261128-1200"],
    text="Stop a run that goes on, as Ctrl-C does: what it has finished stays stored, and `farm "
    "resume` goes on with it. RUN is a run's name, its beginning, or a path to its folder; one "
    "that `farm run --remote` began is stopped there.",
)
@click.argument("run", type=types.RUN)
@options.remote
@options.runs()
def command(run: str, remote: str, token_file: str, runs: str) -> int:
    """Stop the run."""
    from pathlib import Path

    from orchestrator.cli.run.cancel import cancel_here
    from orchestrator.running import remote_folder

    folder = remote_folder(runs, run)
    if remote or folder is not None:
        from orchestrator.cli.run.remote import cancel_there, server_of

        place = folder or Path(runs) / run
        server = server_of(remote, token_file, place)
        assert server is not None
        return cancel_there(server, Path(runs), place.name)
    return cancel_here(Path(runs), run)
