"""`farm score`."""

import math
from collections.abc import Callable
from typing import Literal

import click

from orchestrator.cli.parsing import Section, declare, options, types
from orchestrator.cli.parsing.words import Several


def _rate(words: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value <= 1:
            raise ValueError(f"expected {words}, not {text!r}")
        return value

    return read


@declare(
    "score",
    "rescore a kept run, or score features made elsewhere",
    section=Section.RESULTS,
    examples=[
        "farm score latest --far 1e-2",
        "farm score latest --gallery float32",
        "farm score latest --gallery 20261101:float32",
        "farm score latest --distractors 1000",
        "farm score latest --cross",
        "farm score --gallery g.npy g.csv --probes p.npy p.csv",
        "farm score --features f.npy --templates t.txt --gallery g.csv --probes p.csv",
    ],
    text="""Rescore a kept run with another FAR, fusion, confidence or gallery, from the features
that the store keeps: no board is needed, and the run itself is not touched. Or score features that
were made elsewhere, of your own lists or of lists in IJB's form.

RUN is a run's name, its beginning, or a path to its folder (the newest with a row).""",
)
@click.argument("run", type=types.RUN, required=False)
@click.option(
    "--far",
    type=types.Read("rate", _rate("a FAR from above 0 to 1")),
    metavar="RATE",
    multiple=True,
    help="false alarms per search; the first is the table's; may be repeated",
)
@click.option(
    "--fusion",
    type=types.Word(("mean", "max")),
    metavar="mean|max",
    help="of several gallery images",
)
@click.option(
    "--confidence",
    type=types.Read("rate", _rate("a share between 0 and 1")),
    metavar="SHARE",
    help="of intervals",
)
@click.option("--bootstrap", type=types.COUNT_OR_0, metavar="N", help="resamples, at least 100")
@click.option("--seed", type=types.COUNT_OR_0, metavar="N", help="of the bootstrap")
@click.option(
    "--gallery",
    cls=Several,
    type=types.ROW_OR_FILE,
    metavar="ROW...",
    multiple=True,
    help="ROW or RUN:ROW whose encoder's gallery is searched; or NPY LIST; or an IJB list",
)
@click.option(
    "--probes",
    cls=Several,
    type=types.Located("file", always=False),
    metavar="FILE...",
    multiple=True,
    help="NPY LIST, or a list",
)
@click.option(
    "--features", type=types.FILE, metavar="NPY", help="features of all images of --templates"
)
@click.option("--templates", type=types.FILE, metavar="LIST", help="`image template media` a line")
@click.option(
    "--distractors",
    type=types.COUNT_OR_0,
    metavar="N",
    help="keep only N identities nobody searches for",
)
@click.option(
    "--row", type=types.ROW, metavar="NAME", multiple=True, help="only this; may be repeated"
)
@click.option("--cross", is_flag=True, help="every encoder against every gallery")
@options.columns
@click.option(
    "--output", type=types.FOLDER, metavar="DIR", help="where to (scored/ in the run's folder)"
)
@options.as_json()
@options.runs()
def command(
    run: str | None,
    runs: str,
    far: tuple[float, ...],
    fusion: Literal["mean", "max"] | None,
    confidence: float | None,
    bootstrap: int | None,
    seed: int | None,
    gallery: tuple[str, ...],
    probes: tuple[str, ...],
    features: str | None,
    templates: str | None,
    distractors: int | None,
    row: tuple[str, ...],
    cross: bool,
    columns: tuple[str, ...],
    output: str | None,
    as_json: bool,
) -> int:
    """Score."""
    from pathlib import Path

    from orchestrator.cli.results.score import ToScore, score

    return score(
        ToScore(
            run=run,
            runs=Path(runs),
            far=far,
            fusion=fusion,
            confidence=confidence,
            bootstrap=bootstrap,
            seed=seed,
            gallery=gallery,
            probes=probes,
            features=features,
            templates=templates,
            distractors=distractors,
            row=row,
            cross=cross,
            columns=columns,
            output=output,
            as_json=as_json,
        )
    )
