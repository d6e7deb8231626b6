"""`farm export`: a run's rows for other programs."""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path

from orchestrator.cli.taking import take
from orchestrator.errors import ToolchainError
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.export.tables import FILES, export


def export_command(arguments: argparse.Namespace) -> int:
    """Write what was asked for; without a format all that can be, Parquet only with pyarrow."""
    asked = tuple(dict.fromkeys(arguments.format))
    # JUnit XML alone says something of a run without rows, if it was meant: that they failed.
    run = take(Path(arguments.runs), arguments.run, rowless=asked == ("junit",))
    folder = run.folder
    logged = _to_mlflow(run, arguments) if "mlflow" in asked else None
    formats = tuple(name for name in asked if name != "mlflow")
    formats = (
        formats
        if asked
        else tuple(
            name for name in FILES if name != "parquet" or (run.results and find_spec("pyarrow"))
        )
    )
    target = Path(arguments.output) if arguments.output else folder
    try:
        paths = export(run, target, formats)
    except OSError as error:
        raise ToolchainError(
            f"{target}: cannot be written: {error.strerror}", "say where with --output DIR"
        ) from error
    if arguments.json:
        said = {"run": run.name, "files": [str(path) for path in paths]}
        print(json.dumps(said | ({"mlflow": logged} if logged else {})))
    else:
        print("\n".join([*(str(path) for path in paths), *([logged] if logged else [])]))
    return 0


def _to_mlflow(run: Run, arguments: argparse.Namespace) -> str:
    from orchestrator.reporting.export.mlflow import log_to_mlflow

    return log_to_mlflow(run, arguments.tracking_uri, arguments.experiment)
