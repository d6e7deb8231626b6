"""Why a board does nothing, in words."""

from __future__ import annotations

from orchestrator.counting import counted
from orchestrator.reporting.live.state import BoardLine, RunState
from orchestrator.reporting.waiting import waiting_text


def idle(state: RunState, board: BoardLine) -> tuple[str, float | None]:
    """Why a board does nothing, and since when (Unix seconds; None where that says nothing)."""
    waits = board.waiting
    if waits is not None:
        said = waiting_text(waits).removeprefix("waiting").removeprefix(":").strip()
        return said.removeprefix(f"{board.name} is "), waits.at
    if board.reason:
        return board.reason.splitlines()[0].removeprefix(f"{board.name}: "), None
    if board.state == "connecting":
        ray = state.host_waits
        return (waiting_text(ray) if ray else ""), ray.at if ray else board.since
    left = board.steps_left
    if board.state not in ("ready", "waiting"):
        return "", None
    return (f"{counted(left, 'step')} to go" if left else "nothing to do"), None
