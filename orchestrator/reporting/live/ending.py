"""The last lines of a run: what happened, once for each cause what is missing, what helps."""

from __future__ import annotations

from orchestrator.reporting.export.files import failures_of
from orchestrator.reporting.live.state import RunState
from orchestrator.reporting.tables.causes import NOT_FINISHED, causes, names_of
from orchestrator.store.run_folder import LOG

CACHED = "all of it was in the store (cached): nothing was run, no board was asked"


def last_words(
    state: RunState,
    run: str,
    exit_code: int,
    *,
    stopped_by: str = "",
    folder: str = "",
    cached: bool = False,
) -> list[str]:
    """What a person reads last.

    Args:
        state: the fold over the run's events.
        run: its name.
        exit_code: as the command line gives it.
        stopped_by: the signal that stopped it; empty when nothing did.
        folder: where it is kept.
        cached: whether the store held everything, so that nothing was run.

    Returns:
        the head line, then a line for each cause and what helps.
    """
    total, done = len(state.cells), len(state.results)
    rows = f"{done} of {total} {_rows(total)}"
    if stopped_by:
        who = "Ctrl-C" if stopped_by == "SIGINT" else stopped_by
        return [f"stopped by {who}: {rows}; resume with: farm resume {run}"]
    finished = state.finished
    if exit_code == 0:
        return [f"complete: {rows}" + (f"; {CACHED}" if cached else "")]
    message = finished.message if finished is not None else ""
    if exit_code == 4:
        words = f"internal error: {rows}; please report it with {folder}/{LOG}"
        return [words, *_reported(message)]
    if exit_code == 2:
        return ["wrong input: no board was touched", *_reported(message)]
    failures = failures_of(state)
    if len(state.impossible) == total:
        head = f"{total} of {total} {_rows(total)} cannot run"
    else:
        head = f"incomplete: {rows}"
    lines = [head]
    left = {name: why for name, why in failures.items() if why != NOT_FINISHED}
    if len(left) < len(failures):
        lines += _reported(message)
    boards = {name: cell.board for name, cell in state.cells.items()}
    hints = {name: state.hints.get(name, "") for name in left}
    for cause in causes(left, boards, hints):
        lines.append(f"  {names_of(cause, total)}: {cause.what}")
        helps = cause.help or _help(cause.what, impossible=cause.rows[0] in state.impossible)
        if helps and helps not in cause.what:
            lines.append(f"    {helps}")
    if len(failures) > len(state.impossible):
        lines.append(f"`farm resume {run}` tries only what is missing")
    return lines


def _help(what: str, *, impossible: bool) -> str:
    if not impossible:
        return ""
    return "`farm doctor` says what is missing here" if "toolchain" in what else ""


def _reported(message: str) -> list[str]:
    return [f"  {line}" for line in message.splitlines() if line]


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"
