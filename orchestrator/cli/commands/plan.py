"""`farm plan`."""

import click

from orchestrator.cli.parsing import Section, declare, options


@declare(
    "plan",
    "show every row, its steps and what is left to do",
    section=Section.RUN,
    examples=[
        "farm plan",
        "farm plan --steps",
        "farm plan --predict --limit 500",
        "farm plan --simulate boards=khadas-vim3:20",
    ],
    text="Show every row, its steps and what is left to do; nothing is started. MATRIX is what "
    "would be run (matrix.yaml).",
)
@options.matrix
@options.selection
@options.as_json()
@click.option("--steps", is_flag=True, help="also list every step")
@click.option(
    "--predict",
    is_flag=True,
    help="also run every row's twin on this host and show its accuracy; touches no board",
)
@click.option(
    "--simulate",
    metavar="boards=KIND:N[,...]",
    help="how long it would take with so many boards, and what would wait for what",
)
@options.state()
@options.runs()
def command(
    matrix: str,
    inventory: str | None,
    only: tuple[str, ...],
    limit: int | None,
    as_json: bool,
    steps: bool,
    predict: bool,
    simulate: str | None,
    state: str,
    runs: str,
) -> int:
    """Print the plan."""
    from orchestrator.cli.run.asked import request
    from orchestrator.cli.run.plan import plan

    asked = request(matrix, inventory, state=state, runs=runs, only=only, limit=limit)
    return plan(asked, steps=steps, predict=predict, simulate=simulate, as_json=as_json)
