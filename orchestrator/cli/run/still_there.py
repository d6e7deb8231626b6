"""Whether more may come of a run that a server carries out."""

from __future__ import annotations

from pathlib import Path


def still_there(folder: Path) -> bool:
    """Whether more of a run may come from its server: it has not ended as far as is known here,
    and no other process here follows it."""
    from orchestrator.events import EventReader
    from orchestrator.store.going import is_going
    from orchestrator.store.run_folder import EVENTS

    last = None
    for event in EventReader(folder / EVENTS).new():
        last = event
    return not is_going(folder) and (last is None or last.event != "run_finished")
