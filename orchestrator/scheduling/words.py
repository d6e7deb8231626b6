"""What the driver says of errors and boards, in the words of its events."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import BoardError, FarmError, ToolchainError, TransientError, UserError
from orchestrator.events import ErrorClass
from orchestrator.fleet.board import BoardBusy, Untrusted
from orchestrator.planning.facts import BoardFacts
from orchestrator.scheduling.core.messages import Failure, FailureKind
from orchestrator.scheduling.extracting import Unlike
from orchestrator.scheduling.ray_local import RayDown
from orchestrator.store.artifacts import BuildInProgress, CorruptArtifact

_KINDS = (
    (CorruptArtifact, FailureKind.CORRUPT_ARTIFACT),
    (BuildInProgress, FailureKind.BUILD_IN_PROGRESS),
    (BoardBusy, FailureKind.BOARD_BUSY),
    (RayDown, FailureKind.CLUSTER_DOWN),
    (TransientError, FailureKind.TRANSIENT),
    (Unlike, FailureKind.UNLIKE),
    (Untrusted, FailureKind.UNTRUSTED),
    (BoardError, FailureKind.BOARD),
    (FarmError, FailureKind.INPUT),
)


def failure_of(error: BaseException, doing: str = "", *, progressed: bool = False) -> Failure:
    """An exception as the scheduling core takes it.

    Args:
        error: what was raised; what is none of `FarmError` is an internal error.
        doing: for the message of an internal error: who did what.
        progressed: whether the attempt brought something that is kept.
    """
    if isinstance(error, FarmError):
        kind = next(kind for cause, kind in _KINDS if isinstance(error, cause))
        return Failure(kind, error, progressed)
    where, _, what = doing.partition(": ")
    text = f"{where}: internal error {what}: {error!r}" if what else f"internal error: {error!r}"
    told = FarmError(text, "please report it with driver.log of the run")
    return Failure(FailureKind.INTERNAL, told, progressed)


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
