"""What is remembered of boards that this computer executes, held against this computer."""

from __future__ import annotations

import platform
import sys

from orchestrator.agents import runtimes
from orchestrator.agents.host import processor
from orchestrator.agents.protocol.errors import AgentError
from orchestrator.planning.facts import BoardFacts
from orchestrator.planning.graph import HEAD_DOMAIN
from orchestrator.specs.inventory import Board


def still_true(board: Board, facts: BoardFacts) -> bool:
    """Whether processor and runtimes are those that were remembered.

    A run that has all in its store connects no board, so an upgrade of onnxruntime would go
    unnoticed, and so would a project that was copied from another computer. True of every board
    that farm has to connect before it can tell.
    """
    # What runs in a Python of its own, as a vendor's simulator does, may have other runtimes.
    here = board.contention_domain == HEAD_DOMAIN and board.python == sys.executable
    if not here or board.machine or board.executed_by == "simulator":
        return True
    if (facts.machine, facts.cpu) != (platform.machine(), processor.name()):
        return False
    # The agent alone is told where the inventory says that a library is.
    found = {name: had for name, had in facts.runtimes.items() if name not in board.libraries}
    return all(_version(name) == had for name, had in found.items())


def _version(name: str) -> str:
    """Of a runtime that is installed here; empty where there is none."""
    try:
        found = runtimes.probe(name)
    except AgentError:
        return ""
    return str((found or {}).get("version", ""))
