"""`farm report`: report.html of a run, and its results.json and table.md where they are missing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from orchestrator.cli.taking import take
from orchestrator.errors import ToolchainError


def report(arguments: argparse.Namespace) -> int:
    """Write the report and say where it is; with `--json` as a JSON object."""
    run = take(Path(arguments.runs), arguments.run, rowless=True)
    folder = run.folder
    from orchestrator.reporting.export.files import write_results
    from orchestrator.reporting.html.report import write_report

    path = Path(arguments.output) if arguments.output else folder / "report.html"
    try:
        write_report(run, path, arguments.columns or run.columns)
        if not (folder / "results.json").exists():
            write_results(folder)
    except OSError as error:
        raise ToolchainError(
            f"{path}: cannot be written: {error.strerror}", "say where with --output FILE"
        ) from error
    said = {"run": run.name, "report": str(path), "bytes": path.stat().st_size}
    print(json.dumps(said) if arguments.json else path)
    return 0
