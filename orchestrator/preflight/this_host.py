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
    # By a Python of its own it may have other runtimes than this process.
    if board.contention_domain != HEAD_DOMAIN or board.machine or board.python != sys.executable:
        return True
    here = (platform.machine(), processor.name())
    versions = {name: _version(name) for name in facts.runtimes}
    return (facts.machine, facts.cpu) == here and dict(facts.runtimes) == versions


def _version(name: str) -> str:
    """Of a runtime that is installed here; empty where there is none."""
    try:
        found = runtimes.probe(name)
    except AgentError:
        return ""
    return str((found or {}).get("version", ""))
