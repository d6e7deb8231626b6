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
    ],
    text="Fill the table: quantize, convert, deploy, measure, extract, score. What is in the store "
    "is not made again. MATRIX is what to run (matrix.yaml).",
)
@options.matrix
@options.selection
@click.option(
    "--remeasure", is_flag=True, help="measure again the latencies whose verdict is SUSPECT"
)
@options.live
@options.state()
@options.runs()
def command(
    matrix: str,
    inventory: str | None,
    only: tuple[str, ...],
    limit: int | None,
    remeasure: bool,
    ray_address: str | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    state: str,
    runs: str,
) -> int:
    """Run the matrix."""
    options.check_one_of(quiet=quiet, verbose=verbose)
    from orchestrator.cli.run.asked import request
    from orchestrator.cli.run.run import shown, start

    asked = request(
        matrix,
        inventory,
        state=state,
        runs=runs,
        only=only,
        limit=limit,
        ray_address=ray_address,
    )
    how = shown(quiet=quiet, verbose=verbose, as_json=as_json)
    return start(asked, how, remeasure=remeasure)
