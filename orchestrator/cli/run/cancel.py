"""`farm cancel` of a run of this computer."""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.running import folder_of
from orchestrator.store.going import is_going, stop


def cancel_here(runs: Path, name: str) -> int:
    """Stop a run.

    Raises:
        UserError: there is no such run, it does not go on, or another computer carries it on.
    """
    folder = folder_of(str(runs), name)
    if not is_going(folder):
        raise UserError(f"run {folder.name} does not go on", "`farm runs` says how each ended")
    if not stop(folder):
        raise UserError(
            f"whoever carries run {folder.name} on was not found on this computer",
            "stop it where it was begun, as the same user",
        )
    print(f"run {folder.name} is asked to stop; `farm resume {folder.name}` goes on with it")
    return 0
