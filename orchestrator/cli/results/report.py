"""`farm report`: report.html of a run, and its results.json and table.md where they are missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from orchestrator.cli.results.taking import take
from orchestrator.errors import ToolchainError
from orchestrator.reporting.export.files import write_results
from orchestrator.reporting.html.report import write_report


def report(
    runs: Path, name: str, *, output: str | None, columns: Sequence[str], as_json: bool
) -> int:
    """Write the report and say where it is; with `as_json` as a JSON object."""
    run = take(runs, name, rowless=True)
    folder = run.folder
    path = Path(output) if output else folder / "report.html"
    try:
        write_report(run, path, tuple(columns) or run.columns)
        if not (folder / "results.json").exists():
            write_results(folder)
    except OSError as error:
        raise ToolchainError(
            f"{path}: cannot be written: {error.strerror}", "say where with --output FILE"
        ) from error
    said = {"run": run.name, "report": str(path), "bytes": path.stat().st_size}
    print(json.dumps(said) if as_json else path)
    return 0
