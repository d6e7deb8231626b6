"""`farm run`."""

import click

from orchestrator.cli.parsing import Section, declare, options


@declare(
    "run",
    "fill the table: quantize, convert, deploy, measure, extract, score",
    section=Section.RUN,
    examples=[
        "farm run",
        "farm run matrix.yaml --only khadas-vim3 --limit 500",
        "farm run --json > events.jsonl",
        "farm run --remote https://farm.example.org --token-file ~/.farm-token",
    ],
    text="Fill the table: quantize, convert, deploy, measure, extract, score. What is in the store "
    "is not made again. MATRIX is what to run (matrix.yaml).",
)
@options.matrix
@options.selection
@click.option(
    "--remeasure", is_flag=True, help="measure again the latencies whose verdict is SUSPECT"
)
@options.remote
@options.live
@options.state()
@options.runs()
def command(
    matrix: str,
    inventory: str | None,
    only: tuple[str, ...],
    limit: int | None,
    remeasure: bool,
    remote: str,
    token_file: str,
    ray_address: str | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    state: str,
    runs: str,
) -> int:
    """Run the matrix."""
    options.check_one_of(quiet=quiet, verbose=verbose)
    options.not_with_remote(remote, "inventory", "state", "ray_address")
    from orchestrator.cli.run.asked import request
    from orchestrator.cli.run.run import shown, start

    how = shown(quiet=quiet, verbose=verbose, as_json=as_json)
    if remote:
        from orchestrator.cli.run.remote import start_there
        from orchestrator.request import Request

        wanted = Request(matrix, "", "", runs, tuple(only), limit)
        return start_there(remote, token_file, wanted, how, remeasure=remeasure)
    asked = request(
        matrix,
        inventory,
        state=state,
        runs=runs,
        only=only,
        limit=limit,
        ray_address=ray_address,
    )
    return start(asked, how, remeasure=remeasure)
