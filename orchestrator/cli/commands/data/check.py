"""`farm data check`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types


@declare(
    "check",
    "images that stand where they must not: copies across roles and identities",
    section=Section.BEGIN,
    examples=[
        "farm data check faces/",
        "farm data check faces/ --calibration other/ --sheet suspects.png",
    ],
    text="""Compare all images of a test set with one another, and with those that calibrate:
identical and near-identical ones across roles and identities are leaks. Exit code 0 when there is
none, 1 when there are.

DIR is gallery/<identity>/<image> and probe/<identity>/<image>, or <identity>/<image>; or a CSV
list with the columns file, identity, role.""",
)
@click.argument("folder", metavar="DIR", type=types.FILE)
@click.option(
    "--calibration",
    type=types.FILE,
    metavar="DIR",
    help="the images that calibrate: a folder, or a CSV list",
)
@click.option(
    "--model",
    type=types.FILE,
    metavar="FILE",
    help="a model's manifest: images must have its size; their colour order is looked at",
)
@click.option(
    "--matrix",
    type=types.FILE,
    metavar="FILE",
    help="a matrix, whose scoring: far and table_far count (0.1 to 0.0001; 0.001)",
)
@options.as_json()
@click.option(
    "--sheet", type=types.FILE, metavar="FILE", help="write a picture (PNG) of the suspects"
)
def command(
    folder: str,
    calibration: str | None,
    model: str | None,
    matrix: str | None,
    as_json: bool,
    sheet: str | None,
) -> int:
    """Compare them."""
    from pathlib import Path

    from orchestrator.cli.setup.data import check

    return check(
        Path(folder),
        calibration=calibration,
        manifest=model,
        matrix=matrix,
        sheet=sheet,
        as_json=as_json,
    )
