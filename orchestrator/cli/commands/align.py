"""`farm align`."""

import click

from orchestrator.cli.parsing import Section, declare, types


@declare(
    "align",
    "photos into aligned faces, with a detector of your own",
    section=Section.BEGIN,
    examples=[
        "farm align photos/ --model scrfd.onnx --to faces/",
        "farm align photos/ --model centerface.onnx --size 480x640 --to faces/",
    ],
    text="""Find the largest face of each photo, turn it upright by its five points, and write it as
PNG of 112 x 112 under the photo's own name; folders stay as they are. The detector is an ONNX file
whose outputs are SCRFD's, RetinaFace's, YuNet's or CenterFace's; it runs on this computer.

A photo without a face is a failure to acquire: it is counted, and FOLDER/provenance.json lists
every photo.""",
)
@click.argument("photos", metavar="PHOTOS", type=types.FILE)
@click.option("--model", type=types.FILE, metavar="FILE", required=True, help="the detector (ONNX)")
@click.option(
    "--to", type=types.FILE, metavar="FOLDER", required=True, help="new folder for the faces"
)
@click.option(
    "--size",
    type=types.SIZE,
    metavar="HxW",
    help="the detector's input, where its file leaves it open",
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    metavar="SCORE",
    default=0.5,
    help="boxes below it are no faces (0.5)",
)
@click.option(
    "--skip-unreadable",
    is_flag=True,
    help="count what cannot be read as photos without a face",
)
def command(
    photos: str,
    model: str,
    to: str,
    size: tuple[int, int] | None,
    min_score: float,
    skip_unreadable: bool,
) -> int:
    """Align them."""
    from pathlib import Path

    from orchestrator.cli.setup.align import align

    return align(Path(photos), Path(model), Path(to), size, min_score, skip_unreadable)
