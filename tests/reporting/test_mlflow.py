"""farm export --format mlflow, into MLflow's own database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.reporting.export.files import write_results

from .made import Row, Size, make_run

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    Row("ref", "This host", "host", reference=True, noise=0.8, median_ms=4.0),
    Row("substitute", "RV1126", "rv", executed_by="emulated", noise=0.82, lot=5),
]
# Read in a process of its own: MLflow changes logging and the environment of whoever imports it.
READ = """\
import json, mlflow, sys
client = mlflow.MlflowClient(sys.argv[1])
group = client.get_experiment_by_name("farm").experiment_id
print(json.dumps([
    {"name": r.info.run_name, "status": r.info.status, "metrics": r.data.metrics,
     "params": r.data.params, "tags": r.data.tags,
     "files": [f.path for f in client.list_artifacts(r.info.run_id)]}
    for r in client.search_runs([group])]))
"""


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_rows_are_logged_once_with_their_figures_and_files(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "one", ROWS, size=Size(mated=60, unknown=40))
    write_results(folder)
    export = ("-m", "orchestrator.cli.main", "export", "one", "--format", "mlflow", "--json")
    for _ in range(2):
        done = python(*export, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    uri = json.loads(done.stdout)["mlflow"]
    assert uri == f"sqlite:///{tmp_path}/runs/mlflow.db"
    runs: list[dict[str, Any]] = json.loads(python("-c", READ, uri, cwd=tmp_path).stdout)
    by_name = {run["name"]: run for run in runs}
    assert len(runs) == 3
    assert by_name["one"]["status"] == "FINISHED"
    assert {"results.json", "table.md"} <= set(by_name["one"]["files"])
    results = {c["name"]: c for c in json.loads((folder / "results.json").read_text())["cells"]}
    host, substitute = by_name["ref"], by_name["substitute"]
    assert host["metrics"]["rank1"] == results["ref"]["rank1"]["value"]
    assert host["metrics"]["device_p50_ms"] == results["ref"]["latency"]["device"]["p50_ms"]
    assert substitute["params"]["executed_by"] == "emulated"
    assert not any(name.startswith(("device", "end_to_end")) for name in substitute["metrics"])


@pytest.mark.slow
def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    make_run(tmp_path, "one", ROWS[:1], size=Size(mated=60, unknown=40))
    environment = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "orchestrator.cli.main", "export", "one"),
            *("--format", "mlflow", "--tracking-uri", "http://127.0.0.1:9"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "MLflow at http://127.0.0.1:9" in done.stderr
    assert "--tracking-uri" in done.stderr
