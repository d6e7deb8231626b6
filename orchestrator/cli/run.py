"""`farm run` and `farm resume`: the driver process is started first thing, its run shown then.

Imports nothing heavy: the driver plans while this process imports what it shows runs with.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from orchestrator.cli import project
from orchestrator.cli.asked import asked
from orchestrator.request import Request
from orchestrator.scheduling.start import DriverProcess


def run(arguments: argparse.Namespace) -> int:
    """Start a new run."""
    return _run(asked(arguments), arguments, remeasure=arguments.remeasure)


def resume(arguments: argparse.Namespace) -> int:
    """Go on with an earlier run, under its name: only what is missing is done."""
    from orchestrator.running import folder_of, request_of

    folder = folder_of(arguments.runs, arguments.run)
    request = request_of(arguments.runs, arguments.run).joining(arguments.ray_address)
    if not isinstance(arguments.state, project.Default):
        request = replace(request, state=arguments.state)
    return _run(request, arguments, resuming=folder)


def _run(
    request: Request,
    arguments: argparse.Namespace,
    *,
    remeasure: bool = False,
    resuming: Path | None = None,
) -> int:
    with DriverProcess(request, remeasure=remeasure, resuming=resuming) as driver:
        from orchestrator.cli.run_view import show

        quiet, verbose = arguments.quiet, arguments.verbose
        return show(driver, "quiet" if quiet else "verbose" if verbose else "usual")
