"""`farm export`: a run's rows for other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from orchestrator.cli.results.taking import take
from orchestrator.errors import ToolchainError
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.export.tables import FILES, export


@dataclass(frozen=True)
class MlflowPlace:
    """MLflow's server or database (its own default when None), and the experiment there."""

    tracking_uri: str | None
    experiment: str


def export_run(
    runs: Path,
    name: str,
    formats: Sequence[str],
    *,
    mlflow: MlflowPlace,
    output: str | None,
    as_json: bool,
) -> int:
    """Write what was asked for; without a format all that can be, Parquet only with pyarrow."""
    asked = tuple(dict.fromkeys(formats))
    # JUnit XML alone says something of a run without rows, if it was meant: that they failed.
    run = take(runs, name, rowless=asked == ("junit",))
    folder = run.folder
    logged = _to_mlflow(run, mlflow) if "mlflow" in asked else None
    possible = [each for each in FILES if each != "parquet" or (run.results and _has_parquet())]
    wanted = tuple(each for each in asked if each != "mlflow") if asked else tuple(possible)
    target = Path(output) if output else folder
    try:
        paths = export(run, target, wanted)
    except OSError as error:
        raise ToolchainError(
            f"{target}: cannot be written: {error.strerror}", "say where with --output DIR"
        ) from error
    if as_json:
        said = {"run": run.name, "files": [str(path) for path in paths]}
        print(json.dumps(said | ({"mlflow": logged} if logged else {})))
    else:
        print("\n".join([*(str(path) for path in paths), *([logged] if logged else [])]))
    return 0


def _has_parquet() -> bool:
    return find_spec("pyarrow") is not None


def _to_mlflow(run: Run, place: MlflowPlace) -> str:
    from orchestrator.reporting.export.mlflow import log_to_mlflow

    return log_to_mlflow(run, place.tracking_uri, place.experiment)
