"""Which kept run a command works on; where nobody named it, it is said on standard error."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.reporting.analysis.history import Run, find_run, load_run
from orchestrator.reporting.tables.listing import newest_with_rows
from orchestrator.store.run_folder import LATEST


def take(runs: Path, name: str, *, rowless: bool = False) -> Run:
    """The run of this name; `latest` is the newest that has a finished row.

    Args:
        runs: where runs are kept.
        name: as for `find_run`.
        rowless: whether a run without rows will do, when it is named or no other is there.

    Raises:
        UserError: there is none, or it has no row.
    """
    if name != LATEST:
        run = load_run(find_run(runs, name))
        if not run.results and not rowless:
            raise no_rows(run)
        return run
    found = newest_with_rows(runs)
    if found is None:
        run = load_run(find_run(runs, name))
        if not rowless:
            raise no_rows(run)
        print(f"farm: no run has a finished row; taking {words(run)}", file=sys.stderr)
        return run
    folder, passed = found
    run = load_run(folder)
    newer = f" (newer, without a finished row: {', '.join(passed)})" if passed else ""
    print(f"farm: taking {words(run)}{newer}", file=sys.stderr)
    return run


def no_rows(run: Run) -> UserError:
    """What is said of a run in which nothing can be read."""
    return UserError(
        f"run {run.name} has no finished row ({run.outcome})",
        f"`farm resume {run.name}` continues it; `farm runs` lists the others",
    )


def words(run: Run) -> str:
    """A run in a few words: `run 20261128-1200: complete, 8 of 8 rows`."""
    return f"run {run.name}: {run.outcome}, {len(run.results)} of {len(run.state.cells)} rows"
