"""What the plan is told of a board: facts an agent found there, reduced to what changes results."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.agents.host.arithmetic import exact_integers
from orchestrator.specs.inventory import THIS_HOST, Board
from orchestrator.specs.runtimes import runtime as find


@dataclass(frozen=True)
class BoardFacts:
    """A board as its agent described it.

    Attributes:
        machine: the processor architecture (`x86_64`, `aarch64`, ...).
        cpu: the processor's model name; part of the key of what a CPU computed, since kernels
            differ between processors.
        python: version of the Python that runs the agent.
        runtimes: runtime name to its version.
        gpu: an NVIDIA GPU's name; part of the key of what it computed.
        identity: what names the board (`agents/host/identity.py`) and its `model`; part of no
            key, and no reason to plan again.
    """

    machine: str
    cpu: str
    python: str
    runtimes: Mapping[str, str] = field(default_factory=dict)
    gpu: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def runtime_identity(self, runtime: str, providers: Sequence[str] = ()) -> dict[str, Any]:
        """What of this board changes the features that `runtime` makes on it.

        Args:
            providers: what of the runtime executes.
        """
        known = find(runtime)
        on_gpu = not set(known.gpu_providers).isdisjoint(providers or known.providers[:1])
        return {
            "runtime": runtime,
            "version": self.runtimes.get(runtime),
            "machine": self.machine,
            **({"gpu": self.gpu} if on_gpu and self.gpu else {"cpu": self.cpu}),
        }

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BoardFacts:
        """The facts that `to_json` wrote."""
        runtimes = dict(data["runtimes"])
        known = (data["machine"], data["cpu"], data["python"], runtimes)
        return cls(*known, data.get("gpu", ""), dict(data.get("identity") or {}))


def board_facts(facts: dict[str, Any]) -> BoardFacts:
    """What an agent told, reduced to what changes results."""
    runtimes = {name: str(found.get("version")) for name, found in facts["runtimes"].items()}
    known = (facts["machine"], facts["cpu"], facts["python"], runtimes)
    identity = {
        **(facts.get("identity") or {}),
        "model": facts.get("model", ""),
        "drivers": dict(facts.get("drivers") or {}),
    }
    return BoardFacts(*known, gpu=facts.get("gpu", ""), identity=identity)


def change(old: BoardFacts, new: BoardFacts) -> str:
    """What is different about a board that was connected before."""
    parts = [
        f"{word} {getattr(old, word)} -> {getattr(new, word)}"
        for word in ("machine", "cpu", "python", "runtimes", "gpu")
        if getattr(old, word) != getattr(new, word)
    ]
    return "; ".join(parts)


@functools.cache
def _integers_are_exact() -> bool:
    return exact_integers()


def runtime_options(board: Board, runtime: str) -> dict[str, Any]:
    """How the runtime is set up, as far as it may change features.

    The library's path is not in it: its version, read on the board, is.
    """
    options = board.runtime_for(runtime)
    # Left to the processor, it decides what is computed: an emulated board's is this host's.
    fuses = options.faithful is None and not board.machine and _integers_are_exact()
    left = None if fuses else True
    return {
        "providers": list(options.providers),
        "threads": options.threads,
        "faithful": left if options.faithful is None else options.faithful,
        **options.building,
    }


def runtime_identity(
    board: Board, runtime: str, facts: Mapping[str, BoardFacts]
) -> dict[str, Any] | None:
    """What of a board's runtime goes into features' keys; None while nothing is known of it."""
    known = facts.get(board.name)
    if known is None:
        return None
    return known.runtime_identity(runtime, board.runtime_for(runtime).providers)


def computes_at_a_time(board: Board, runtime: str) -> bool:
    """Whether it computes as many images at a time as this host has processors."""
    options = board.runtime_for(runtime)
    here = board.transport.type == "local" and board.contention_domain == THIS_HOST
    able = set(options.providers) and set(options.providers) <= set(find(runtime).concurrent)
    return here and bool(able) and options.threads == 1


def identity_of(board: Board) -> dict[str, Any]:
    """Which individual board it is: latency is keyed by this."""
    transport = board.transport.model_dump(mode="json", exclude={"jump"})
    return {"name": board.name, "transport": transport}
