"""`farm export`."""

import click

from orchestrator.cli.parsing import Section, declare, options, types

FORMATS = (
    *("csv", "parquet", "junit", "mlflow", "scores-csv", "scores-npz", "scores-safetensors"),
    *("features-csv", "features-npz", "features-safetensors"),
)


@declare(
    "export",
    "a run's rows, scores or features for other programs",
    section=Section.RESULTS,
    examples=["farm export", "farm export latest --format csv --format scores-npz --output out"],
    text="A run's rows, scores or features for other programs. RUN is a run's name, its beginning, "
    "or a path to its folder (the newest with a row).",
)
@options.run
@click.option(
    "--format",
    "formats",
    type=types.Word(FORMATS),
    metavar="FORMAT",
    multiple=True,
    help=f"{', '.join(FORMATS)}; may be repeated (csv and junit; parquet with pyarrow)",
)
@click.option(
    "--tracking-uri",
    metavar="URI",
    help="MLflow's server or database (MLFLOW_TRACKING_URI, else mlflow.db beside the runs)",
)
@click.option("--experiment", metavar="NAME", default="farm", help="of MLflow (farm)")
@click.option("--output", type=types.FOLDER, metavar="DIR", help="where to (the run's folder)")
@options.as_json()
@options.runs()
def command(
    run: str,
    formats: tuple[str, ...],
    tracking_uri: str | None,
    experiment: str,
    output: str | None,
    as_json: bool,
    runs: str,
) -> int:
    """Write the files."""
    from pathlib import Path

    from orchestrator.cli.results.export import MlflowPlace, export_run

    place = MlflowPlace(tracking_uri, experiment)
    return export_run(Path(runs), run, formats, mlflow=place, output=output, as_json=as_json)
