"""A run in MLflow: a parent run with the files, and below it a run a row with its figures."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from orchestrator.errors import ToolchainError, UserError
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.export.tables import flat_row
from orchestrator.results import CellResult

FILES = ("table.md", "results.json", "report.html", "matrix.yaml")
URI = "MLFLOW_TRACKING_URI"
INSTALL = "in farm's checkout: pip install -e '.[mlflow]'; elsewhere: pip install mlflow"
# Of the flat columns, what can be plotted; the rest describes the row.
_FIGURES = re.compile(
    r"(rank1|tar|ap|recall|landmark_error|device|end_to_end)_?|failed_images$|artifact_bytes$"
)
# MLflow sends usage reports unless it is told not to, before it is imported.
_SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def log_to_mlflow(run: Run, uri: str | None, experiment: str = "farm") -> str:
    """Log a run, once: what MLflow already has of it is left as it is.

    Args:
        uri: a tracking server or database; the variable MLFLOW_TRACKING_URI if None, and without
            it an SQLite file beside the runs.
        experiment: MLflow's name for a group of runs; made when it is not there.

    Returns:
        The tracking URI that was used.

    Raises:
        UserError: MLflow is not installed, or what its URI needs.
        ToolchainError: the tracking server does not answer or refuses.
    """
    os.environ.update(_SILENT)
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise UserError("MLflow is not installed", INSTALL) from None
    where = uri or os.environ.get(URI) or f"sqlite:///{run.folder.resolve().parent}/mlflow.db"
    try:
        client = mlflow.MlflowClient(where)
        group = _experiment(client, experiment, run.folder.resolve().parent / "mlflow")
        if not _known(client, group, run.name):
            _log(mlflow, client, group, run)
    except ImportError as error:
        raise UserError(f"MLflow needs {error.name} for {where}", INSTALL) from None
    except (MlflowException, OSError) as error:
        raise ToolchainError(
            f"MLflow at {where}: {str(error).splitlines()[0][:300]}",
            "is the tracking server up? name another with --tracking-uri URI",
        ) from error
    return where


def _experiment(client: Any, name: str, artifacts: Path) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    # A server has a place of its own for files; a bare database has none.
    local = client.tracking_uri.startswith("sqlite:")
    return str(client.create_experiment(name, artifacts.as_uri() if local else None))


def _known(client: Any, group: str, name: str) -> bool:
    asked = f"tags.`farm.run` = '{name}' and tags.`farm.complete` = 'true'"
    return bool(client.search_runs([group], filter_string=asked, max_results=1))


def _log(mlflow: Any, client: Any, group: str, run: Run) -> None:
    began, ended = int(run.began * 1000), int((run.began + run.seconds) * 1000)
    tags = {"farm.run": run.name, "farm.outcome": run.outcome}
    if run.state.started is not None:
        tags |= {"farm.matrix": run.state.started.matrix, "farm.version": run.state.started.farm}
    parent = client.create_run(group, start_time=began, run_name=run.name, tags=tags).info.run_id
    for row in run.results:
        below = {"mlflow.parentRunId": parent, "executed_by": row.executed_by}
        child = client.create_run(group, start_time=began, run_name=row.name, tags=below)
        metrics, params = figures(run, row)
        client.log_batch(
            child.info.run_id,
            metrics=[mlflow.entities.Metric(k, v, ended, 0) for k, v in metrics.items()],
            params=[mlflow.entities.Param(k, v) for k, v in params.items()],
        )
        client.set_terminated(child.info.run_id, end_time=ended)
    for name in FILES:
        if (run.folder / name).is_file():
            client.log_artifact(parent, str(run.folder / name))
    status = "FINISHED" if run.outcome == "complete" else "FAILED"
    client.set_terminated(parent, status=status, end_time=ended)
    # Last, so that a log that was cut off is written again.
    client.set_tag(parent, "farm.complete", "true")


def figures(run: Run, row: CellResult) -> tuple[dict[str, float], dict[str, str]]:
    """A row as MLflow has it: metrics (numbers), and params (everything else as text).

    What has no value is left out; a substitute has no time.
    """
    metrics: dict[str, float] = {}
    params: dict[str, str] = {}
    for name, value in flat_row(run, row).items():
        if value is None or value == "":
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and _FIGURES.match(name):
            metrics[name] = float(value)
        else:
            params[name] = str(value)[:500]
    return metrics, params
