"""What the driver says of errors and boards, in the words of its events."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import BoardError, ToolchainError, TransientError, UserError
from orchestrator.events import ErrorClass
from orchestrator.planning.facts import BoardFacts


def error_class(error: BaseException) -> ErrorClass:
    """The word for who must act."""
    for kind, word in (
        (UserError, "user"),
        (TransientError, "transient"),
        (BoardError, "board"),
        (ToolchainError, "toolchain"),
    ):
        if isinstance(error, kind):
            return word  # type: ignore[return-value]
    return "bug"


def board_facts(facts: dict[str, Any]) -> BoardFacts:
    """What an agent told, reduced to what changes results."""
    runtimes = {name: str(found.get("version")) for name, found in facts["runtimes"].items()}
    known = (facts["machine"], facts["cpu"], facts["python"], runtimes)
    identity = {**(facts.get("identity") or {}), "model": facts.get("model", "")}
    return BoardFacts(*known, gpu=facts.get("gpu", ""), identity=identity)


def change(old: BoardFacts, new: BoardFacts) -> str:
    """What is different about a board that was met before."""
    parts = [
        f"{word} {getattr(old, word)} -> {getattr(new, word)}"
        for word in ("machine", "cpu", "python", "runtimes", "gpu")
        if getattr(old, word) != getattr(new, word)
    ]
    return "; ".join(parts)
