"""farm from Python: the same calls as the command line, their results as typed objects.

    import orchestrator as farm

    run = farm.run("matrix.yaml", limit=500)     # with the same progress, in a notebook too
    run.results[0].rank1                         # `CellResult`s, as in results.json
    farm.run(remote="https://farm.example.org").wait()   # on a server that has the boards
    farm.frame(run)                              # a pandas data frame, a row each
    farm.compare(farm.load("latest"), run)       # paired statistics

Every call raises `UserError` for what its caller can fix, before anything is started.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from orchestrator.driving.start import DriverProcess
from orchestrator.errors import UserError
from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.reporting.analysis.compare import RunComparison, compare_runs
from orchestrator.reporting.analysis.figures import device_ms_of, searches_of
from orchestrator.reporting.analysis.gate import Judgement, judge, parse_limits
from orchestrator.reporting.analysis.history import Run, find_run, load_run, load_runs
from orchestrator.reporting.export.files import write_results
from orchestrator.reporting.export.tables import flat_row
from orchestrator.reporting.live.console import View
from orchestrator.reporting.tables.listing import newest_with_rows
from orchestrator.request import Request, find_inventory
from orchestrator.results import CellResult
from orchestrator.running import folder_of, follow, remote_folder, request_of
from orchestrator.scoring import Searches
from orchestrator.store.run_folder import LATEST

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped,unused-ignore]

    from orchestrator.remote.handle import RemoteRun

File = str | PathLike[str]


@overload
def run(
    matrix: File = "matrix.yaml",
    inventory: File | None = None,
    *,
    only: Sequence[str] = (),
    limit: int | None = None,
    remeasure: bool = False,
    state: File = ".farm",
    runs: File = "runs",
    ray_address: str = "",
    progress: bool = True,
    remote: None = None,
) -> Run: ...


@overload
def run(
    matrix: File = "matrix.yaml",
    *,
    only: Sequence[str] = (),
    limit: int | None = None,
    remeasure: bool = False,
    runs: File = "runs",
    progress: bool = True,
    remote: str,
    token_file: File = "",
) -> RemoteRun: ...


def run(
    matrix: File = "matrix.yaml",
    inventory: File | None = None,
    *,
    only: Sequence[str] = (),
    limit: int | None = None,
    remeasure: bool = False,
    state: File = ".farm",
    runs: File = "runs",
    ray_address: str = "",
    progress: bool = True,
    remote: str | None = None,
    token_file: File = "",
) -> Run | RemoteRun:
    """Fill a matrix's table, as `farm run` does; what the store holds is not done again.

    Args:
        matrix, inventory: the files; the inventory beside the matrix, or in this folder, if None.
        only: rows, entries, boards or kinds; empty for all.
        limit: only so many gallery identities, probes in proportion; rows are then partial.
        remeasure: measure again the latencies whose verdict is SUSPECT.
        state, runs: farm's own folder, and where runs are kept.
        ray_address: a Ray cluster to join, HOST:PORT; empty for a Ray head of farm's own.
        progress: show the live console; False for silence.
        remote: the address of a `farm serve --allow-actions` server that has the boards; its own
            inventory, store and Ray are used.
        token_file: has the token for it, where it is not in the address or in FARM_TOKEN.

    Returns:
        The run, whether complete or not: see its `outcome` and `failures`. With `remote` at once a
        `RemoteRun`, whose `wait()` gives it.

    Raises:
        UserError: something in the files is wrong; nothing was started.
        KeyboardInterrupt: Ctrl-C; what is finished is kept, and `resume` goes on.
    """
    if remote is not None:
        if inventory is not None or ray_address:
            raise UserError("with remote, inventory and Ray are the server's", "leave them out")
        return _run_there(remote, token_file, matrix, only, limit, remeasure, runs, progress)
    request = _request(matrix, inventory, only, limit, state, runs).joining(ray_address)
    return _carry_out(request, remeasure=remeasure, progress=progress)


def resume(
    name: str = "latest",
    *,
    runs: File = "runs",
    ray_address: str | None = None,
    progress: bool = True,
    token_file: File = "",
) -> Run:
    """Go on with a run that was stopped or lost, under its name: only what is missing is done.

    A run of a server goes on there, and is followed to its end.

    Args:
        name: its name, the beginning of one, a path to its folder, or `latest`: the one that was
            begun or resumed last.
        ray_address: another Ray cluster than the run was asked to join; `local` for none.
        token_file: has the token for the server of a run that was sent, where it is not in
            FARM_TOKEN or where it was then.

    Raises:
        UserError: there is no such run.
    """
    there = remote_folder(fspath(runs), name)
    if there is not None:
        return _resume_there(there, fspath(token_file), progress)
    request = request_of(fspath(runs), name).joining(ray_address)
    folder = folder_of(fspath(runs), name)
    return _carry_out(request, remeasure=False, progress=progress, resuming=folder)


def plan(
    matrix: File = "matrix.yaml",
    inventory: File | None = None,
    *,
    only: Sequence[str] = (),
    limit: int | None = None,
    state: File = ".farm",
) -> Plan:
    """Every row, its steps, what is cached, and why a row is impossible; starts nothing.

    Raises:
        UserError: something in the files is wrong.
    """
    return make_plan(_request(matrix, inventory, only, limit, state, "runs"))


def load(name: File = "latest", *, runs: File = "runs") -> Run:
    """A kept run.

    Args:
        name: its name, the beginning of one, a path to its folder, or `latest`: the newest that
            has a finished row (the newest of all when none has).

    Raises:
        UserError: there is none, or more than one begins so.
    """
    found = newest_with_rows(Path(runs)) if name == LATEST else None
    return load_run(found[0] if found else find_run(Path(runs), fspath(name)))


def kept(runs: File = "runs") -> list[Run]:
    """All runs that can be read, oldest first."""
    return list(load_runs(Path(runs)))


def frame(run: Run) -> pandas.DataFrame:
    """A run's finished rows as a data frame, the columns of results.csv, rates as fractions.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UserError(
            "a data frame needs pandas, which is not installed", "pip install pandas"
        ) from None
    return pandas.DataFrame([flat_row(run, row) for row in run.results])


def device_times(run: Run, row: str) -> NDArray[np.float64] | None:
    """A row's raw device times in milliseconds, in order, float64 (n,); see its `executed_by`.

    Returns:
        None when the store has none (any more).

    Raises:
        UserError: the run has no such finished row.
    """
    return device_ms_of(run, _row(run, row))


def searches(run: Run, row: str) -> Searches | None:
    """A row's mate and best-impostor scores, from which every rate and curve is made.

    Returns:
        None when the store has none (any more).

    Raises:
        UserError: the run has no such finished row.
    """
    return searches_of(run, _row(run, row))


def compare(first: Run, second: Run) -> RunComparison:
    """Two runs row by row, by paired statistics."""
    return compare_runs(first, second)


def gate(
    run: Run, baseline: Run, *, max_drop: Sequence[str] = (), max_slower: Sequence[str] = ()
) -> Judgement:
    """Judge a run against a baseline.

    Args:
        max_drop: such as `rank1=0.5`, in points.
        max_slower: such as `p50=10%`.

    Raises:
        UserError: a limit is no such thing, or none is given.
    """
    return judge(compare_runs(baseline, run), run, parse_limits(max_drop, max_slower))


def _request(
    matrix: File,
    inventory: File | None,
    only: Sequence[str],
    limit: int | None,
    state: File,
    runs: File,
) -> Request:
    if isinstance(only, str):
        only = (only,)
    _check_limit(limit)
    named = None if inventory is None else fspath(inventory)
    return Request(
        matrix=fspath(matrix),
        inventory=find_inventory(fspath(matrix), named),
        state=fspath(state),
        runs=fspath(runs),
        only=tuple(only),
        limit=limit,
    )


def _run_there(
    link: str,
    token_file: File,
    matrix: File,
    only: Sequence[str],
    limit: int | None,
    remeasure: bool,
    runs: File,
    progress: bool,
) -> RemoteRun:
    # Late: a run here needs none of it.
    from orchestrator.remote.address import find_server
    from orchestrator.remote.handle import begin
    from orchestrator.remote.runs import Remote

    _check_limit(limit)
    console = Console(highlight=False, quiet=not progress)
    server = find_server(link, fspath(token_file))
    remote = Remote(server, Path(runs), lambda text, style: console.print(text, style=style))
    names = (only,) if isinstance(only, str) else tuple(only)
    return begin(
        remote,
        fspath(matrix),
        only=names,
        limit=limit,
        remeasure=remeasure,
        runs=Path(runs),
        progress=progress,
    )


def _resume_there(folder: Path, token_file: str, progress: bool) -> Run:
    from orchestrator.remote.address import find_server
    from orchestrator.remote.folder import where_of
    from orchestrator.remote.handle import RemoteRun
    from orchestrator.remote.runs import Remote

    where = where_of(folder)
    if where is None:
        raise UserError(f"{folder}: it cannot be read where the run is", "farm.load reads it")
    console = Console(highlight=False, quiet=not progress)
    server = find_server(where.url, token_file or where.token_file)
    remote = Remote(server, folder.parent, lambda text, style: console.print(text, style=style))
    return RemoteRun(remote, remote.resume(folder), progress=progress).wait()


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}", "expected a whole number from 1 on, or None")


def _carry_out(
    request: Request, *, remeasure: bool, progress: bool, resuming: Path | None = None
) -> Run:
    with (
        DriverProcess(request, remeasure=remeasure, resuming=resuming) as driver,
        View(Console(highlight=False, quiet=not progress)) as view,
    ):
        ended = follow(driver, view)
    write_results(ended.folder)
    if ended.signal is not None:
        raise KeyboardInterrupt(f"stopped by {ended.signal.name}; resume({ended.folder.name!r})")
    return load_run(ended.folder)


def _row(run: Run, name: str) -> CellResult:
    found = run.row(name)
    if found is None:
        raise UserError(
            f"run {run.name} has no finished row {name!r}",
            f"it has: {', '.join(row.name for row in run.results) or 'none'}",
        )
    return found
