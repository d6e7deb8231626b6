"""Maps exceptions to the labels of events and to failures that the scheduling core takes."""

from __future__ import annotations

from orchestrator.cluster.errors import RayDown
from orchestrator.errors import BoardError, FarmError, ToolchainError, TransientError, UserError
from orchestrator.events import ErrorClass
from orchestrator.fleet.boards.board import BoardBusy, Untrusted
from orchestrator.scheduling.core.messages import Failure, FailureKind
from orchestrator.stages.extracting import Unlike
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
    reported = FarmError(text, "please report it with driver.log of the run")
    return Failure(FailureKind.INTERNAL, reported, progressed)


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
