"""`farm explain`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types

IMAGES = 64
LIMIT = 500


@declare(
    "explain",
    "each layer of a row against float32; which one is bad, and its effect on Rank-1",
    section=Section.RESULTS,
    examples=["farm explain rv1126", "farm explain rv1126 --images 200 --plot layers.png"],
    text="Compare every layer of a row's quantized model with float32 on this host, name the first "
    "bad one, and measure Rank-1 with that layer kept in float32. A real board's row is explained "
    "by its twin. CELL is a row, as `farm plan` names it; MATRIX is matrix.yaml where left out.",
)
@click.argument("cell", type=types.ROW_OR_BOARD)
@options.matrix
@options.inventory()
@click.option(
    "--run", type=types.RUN, metavar="NAME", help="of this run, whose report shows it then"
)
@click.option(
    "--images",
    type=types.COUNT,
    metavar="N",
    default=IMAGES,
    help=f"probe images that the layers are compared on ({IMAGES})",
)
@click.option(
    "--limit",
    type=types.COUNT,
    metavar="N",
    default=LIMIT,
    help=f"gallery identities that the effect is measured on ({LIMIT})",
)
@click.option("--no-effect", is_flag=True, help="only the layers")
@click.option("--plot", type=types.FILE, metavar="FILE", help=".svg or .png (explain-CELL.svg)")
@options.as_json("for programs; draws only --plot FILE")
@options.state()
@options.runs()
def command(
    cell: str,
    matrix: str,
    inventory: str | None,
    run: str | None,
    images: int,
    limit: int,
    no_effect: bool,
    plot: str | None,
    as_json: bool,
    state: str,
    runs: str,
) -> int:
    """Explain the row."""
    from orchestrator.cli.results.explain import ToExplain, explain

    return explain(
        ToExplain(
            cell=cell,
            matrix=matrix,
            inventory=inventory,
            run=run,
            images=images,
            limit=limit,
            effect=not no_effect,
            plot=plot,
            as_json=as_json,
            state=state,
            runs=runs,
        )
    )
