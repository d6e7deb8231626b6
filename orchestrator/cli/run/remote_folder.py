"""Whether a run that is named goes on elsewhere; loads nothing that a run here does not need."""

from __future__ import annotations

from pathlib import Path

REMOTE = "remote.json"


def remote_folder(runs: str, name: str) -> Path | None:
    """The folder of a run of a server; None of a run of this computer, or of none."""
    for path in (Path(runs) / name, Path(name)):
        if (path / REMOTE).is_file():
            return path.parent / path.resolve().name
    if not name or not Path(runs).is_dir():
        return None
    found = [path for path in Path(runs).glob(f"{name}*") if (path / REMOTE).is_file()]
    others = [path for path in Path(runs).glob(f"{name}*") if path not in found]
    return found[0] if len(found) == 1 and not others else None


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
