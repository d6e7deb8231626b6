"""`farm run` and `farm resume`: the driver process is started first thing, its run shown then.

Imports nothing heavy: the driver plans while this process imports what it shows runs with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from orchestrator.driving.start import DriverProcess
from orchestrator.request import Request


@dataclass(frozen=True)
class Shown:
    """How a run is shown: `as_json`, each event as a line; else how much is said."""

    detail: Literal["quiet", "usual", "verbose"]
    as_json: bool


def shown(*, quiet: bool, verbose: bool, as_json: bool) -> Shown:
    """What the options say."""
    return Shown("quiet" if quiet else "verbose" if verbose else "usual", as_json)


def start(request: Request, how: Shown, *, remeasure: bool, name: str = "") -> int:
    """Start a new run.

    Args:
        name: of the run, where whoever asks has one from `new_name`.
    """
    return _run(request, how, remeasure=remeasure, name=name)


def resume(runs: str, name: str, how: Shown, *, state: str | None, ray_address: str | None) -> int:
    """Go on with an earlier run, under its name: only what is missing is done.

    Args:
        state: another store than the run's own; None for that.
    """
    from orchestrator.running import folder_of, request_of

    folder = folder_of(runs, name)
    request = request_of(runs, name).joining(ray_address)
    if state is not None:
        request = replace(request, state=state)
    return _run(request, how, resuming=folder)


def _run(
    request: Request,
    how: Shown,
    *,
    remeasure: bool = False,
    resuming: Path | None = None,
    name: str = "",
) -> int:
    job = DriverProcess(request, remeasure=remeasure, resuming=resuming, name=name)
    with job as driver:
        from orchestrator.cli.run.view import show

        return show(driver, how.detail, as_json=how.as_json)
