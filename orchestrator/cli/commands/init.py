"""`farm init`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types
from orchestrator.cli.parsing.words import Several

KINDS = "jetson-xavier-nx,khadas-vim3,imx8mp,rv1126"


@declare(
    "init",
    "write the first files; find how a model wants its pixels",
    section=Section.BEGIN,
    examples=[
        "farm init",
        "farm init --model face.onnx",
        "farm init --model face.onnx --images faces/",
        "farm init --model detector.onnx --size 480x640",
        "farm init --model face.onnx --colour RGB --mean 127.5 --std 127.5",
    ],
    text="""Write matrix.yaml and device_inventory.yaml and, with a model of your own,
models/<name>.yaml: input name, size and layout are read from the ONNX file, and colour order, mean
and std are found by embedding a few faces in every usual way: rendered faces, or your own
(--images: <identity>/<image>). A detector is recognized by its outputs; its matrix has rendered
scenes. Files that are there already are not overwritten. On a terminal it
asks three questions.

FOLDER is where to (this folder).""",
)
@click.argument("folder", type=types.Located("dir"), default=".", required=False)
@click.option("--model", type=types.FILE, metavar="ONNX", help="your model (synthface-ir, farm's)")
@click.option("--name", help="the model's name (the file's)")
@click.option(
    "--images",
    type=types.FOLDER,
    metavar="DIR",
    help="aligned faces: <identity>/<image>, or gallery/ and probe/ with such folders",
)
@click.option("--skip-unreadable", is_flag=True, help="leave out files that cannot be taken")
@click.option(
    "--calibration", type=types.FOLDER, metavar="DIR", help="aligned faces of other people"
)
@click.option("--boards", metavar="KIND,...", help=f"({KINDS})")
@click.option(
    "--size",
    type=types.SIZE,
    metavar="HxW",
    help="where the model leaves it open",
)
@click.option("--output", metavar="NAME", help="the embedding, where there are several")
@click.option("--identities", type=int, default=40, metavar="N", help="faces compared (40)")
@click.option(
    "--colour", type=types.Word(("RGB", "BGR")), metavar="RGB|BGR", help="known: do not compare"
)
@click.option(
    "--mean",
    cls=Several,
    type=float,
    metavar="X...",
    multiple=True,
    help="known: 1 number, or 3",
)
@click.option(
    "--std",
    cls=Several,
    type=float,
    metavar="X...",
    multiple=True,
    help="known: 1 number, or 3",
)
@click.option("--force", is_flag=True, help="overwrite what is there")
@click.option("--yes", is_flag=True, help="ask nothing")
@options.as_json("for programs; asks nothing")
def command(
    folder: str,
    model: str | None,
    name: str | None,
    images: str | None,
    skip_unreadable: bool,
    calibration: str | None,
    boards: str | None,
    size: tuple[int, int] | None,
    output: str | None,
    identities: int,
    colour: str | None,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    force: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Write the files."""
    from orchestrator.cli.setup.init import init
    from orchestrator.cli.setup.to_init import ToInit

    return init(
        ToInit(
            folder=folder,
            model=model,
            name=name,
            images=images,
            skip_unreadable=skip_unreadable,
            calibration=calibration,
            boards=boards,
            size=size,
            output=output,
            identities=identities,
            colour=colour,
            mean=mean,
            std=std,
            force=force,
            asks=not yes,
            as_json=as_json,
        )
    )
