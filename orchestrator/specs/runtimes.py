"""The table of runtimes: what each file of `agents/runtimes/` says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from orchestrator.agents import runtimes as files
from orchestrator.agents.runtimes import BOARD_ROLE, TRIAL, Descriptor

__all__ = [
    "ONNXRUNTIME",
    "TRIAL",
    "Descriptor",
    "board_runtimes",
    "inventory_runtimes",
    "runtime",
    "runtimes",
]

ONNXRUNTIME = "onnxruntime"
"""The runtime of this host, which also runs the twins."""


@cache
def runtimes() -> Mapping[str, Descriptor]:
    """Every runtime of the agent, by its name."""
    return {name: files.descriptor(name) for name in files.names()}


def runtime(name: str) -> Descriptor:
    """What is known of a runtime; of one that only another distribution knows, its name."""
    return runtimes().get(name) or Descriptor(label=name, providers=())


def inventory_runtimes() -> tuple[str, ...]:
    """Those that a kind or a board's entry may name."""
    return tuple(name for name, each in runtimes().items() if each.role != TRIAL)


def board_runtimes() -> tuple[str, ...]:
    """Those that a board may have."""
    return tuple(name for name, each in runtimes().items() if each.role == BOARD_ROLE)
