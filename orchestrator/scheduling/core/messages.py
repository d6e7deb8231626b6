"""What the shell tells the core (events), and what the core wants done (instructions): plain data.

A message about a board names it; one about a step carries the step as it was when it started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple

from orchestrator.errors import FarmError
from orchestrator.planning.critical_path import Lead
from orchestrator.planning.facts import BoardFacts
from orchestrator.planning.graph import Graph, Step
from orchestrator.planning.resolving import Resolution


class FailureKind(Enum):
    """Who or what failed; decides what happens next (`failures.py`, `boards.py`)."""

    TRANSIENT = "link, deadline or worker"
    BOARD_BUSY = "somebody else uses the board"
    CLUSTER_DOWN = "Ray or one of its nodes is gone"
    CORRUPT_ARTIFACT = "the store lost an input"
    BUILD_IN_PROGRESS = "another run still makes it"
    BOARD = "the board needs attention"
    UNTRUSTED = "another machine may answer in the board's place"
    UNLIKE = "the board makes other features than its pool"
    INPUT = "the user's input, the toolchain, or anything else that another attempt does not fix"
    INTERNAL = "an internal error"

    @property
    def transient(self) -> bool:
        """Whether the surroundings failed, so that trying again may help."""
        return self in _TRANSIENT

    @property
    def of_board(self) -> bool:
        """Whether the board failed."""
        return self in _OF_BOARD

    @property
    def of_store(self) -> bool:
        """Whether the store is the reason, so that no board is blamed."""
        return self in (FailureKind.CORRUPT_ARTIFACT, FailureKind.BUILD_IN_PROGRESS)


_TRANSIENT = frozenset(
    {
        FailureKind.TRANSIENT,
        FailureKind.BOARD_BUSY,
        FailureKind.CLUSTER_DOWN,
        FailureKind.CORRUPT_ARTIFACT,
        FailureKind.BUILD_IN_PROGRESS,
    }
)
_OF_BOARD = frozenset({FailureKind.BOARD, FailureKind.UNTRUSTED, FailureKind.UNLIKE})


@dataclass(frozen=True)
class Failure:
    """Why something failed.

    Attributes:
        error: what a person reads.
        progressed: whether the attempt brought something that is kept; then it does not count.
    """

    kind: FailureKind
    error: FarmError
    progressed: bool = False


@dataclass(frozen=True)
class BoardProfile:
    """What the core knows of a board.

    Attributes:
        domain: its contention domain.
        rungs: ways to recover it, the gentlest first.
        boots_in_s: seconds that it may take to boot.
    """

    domain: str
    rungs: tuple[str, ...] = ()
    boots_in_s: float = 0.0


@dataclass(frozen=True)
class PlanView:
    """The plan, as the core needs it.

    Attributes:
        leads, ranks: see `Candidate`.
        facts: what each board is; None: those of a pool are alike.
        refusals: (board, runtime) that get no work, and why.
        reserved: boards that are somebody else's for a time: they get nothing new, and are given
            back.
        spares: step id to the boards outside its pool that may help with it.
    """

    graph: Graph
    resolution: Resolution
    boards: Mapping[str, BoardProfile]
    leads: Mapping[str, Lead] = field(default_factory=dict)
    ranks: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, BoardFacts] | None = None
    refusals: Mapping[tuple[str, str | None], FarmError] = field(default_factory=dict)
    reserved: frozenset[str] = frozenset()
    spares: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def same_order(self, other: PlanView) -> bool:
        """Whether steps of the same graph come in the same order on the same boards."""
        mine = (self.boards, self.leads, self.ranks)
        return mine == (other.boards, other.leads, other.ranks)


# -- events: what happened -------------------------------------------------------------------------


@dataclass(frozen=True)
class PlanChanged:
    """The plan, the store or the fleet log changed. `inspected`: the store was read again."""

    plan: PlanView
    inspected: bool = False


@dataclass(frozen=True)
class StepsMoved:
    """`MoveSteps` is carried out; `plan` where that changed the graph."""

    moved: Mapping[str, str]
    plan: PlanView | None = None


@dataclass(frozen=True)
class Look:
    """Start what can start.

    Attributes:
        computes: whether Ray is there; until it is, what needs it would only keep others waiting.
    """

    computes: bool = True


@dataclass(frozen=True)
class Explain:
    """Say why boards wait, as far as that changed since the last time."""


@dataclass(frozen=True)
class ReachBoards:
    """Connect the boards that are needed, give back the others."""


class Finished(NamedTuple):
    """A step is done."""

    step: Step


@dataclass(frozen=True)
class Failed:
    """A step's attempt failed."""

    step: Step
    failure: Failure


@dataclass(frozen=True)
class HelpEnded:
    """A board no longer helps with a step; `failure` where it broke off."""

    step: Step
    board: str
    failure: Failure | None = None


@dataclass(frozen=True)
class Connected:
    """A board is connected and ours."""

    board: str


@dataclass(frozen=True)
class ConnectedFromStart:
    """Boards need no connecting, as in a simulation."""

    boards: tuple[str, ...]


@dataclass(frozen=True)
class ConnectFailed:
    """An attempt to connect a board failed."""

    board: str
    failure: Failure


@dataclass(frozen=True)
class Unfit:
    """A board was found unfit for work. `found`: the check, handed back by `GiveUp`."""

    board: str
    error: FarmError
    found: object = None


@dataclass(frozen=True)
class Recovered:
    """A recovery rung was carried out; the board is booting."""

    board: str


@dataclass(frozen=True)
class RecoveryFailed:
    """A recovery rung could not be carried out. `reason`: why the board needs it."""

    board: str
    reason: FarmError


@dataclass(frozen=True)
class HeadLost:
    """Ray's head is gone: nothing more can be computed."""

    error: FarmError


@dataclass(frozen=True)
class Stop:
    """The run is being stopped; what fails from now on is not reported."""


Event = (
    PlanChanged
    | StepsMoved
    | Look
    | Explain
    | ReachBoards
    | Finished
    | Failed
    | HelpEnded
    | Connected
    | ConnectedFromStart
    | ConnectFailed
    | Unfit
    | Recovered
    | RecoveryFailed
    | HeadLost
    | Stop
)


# -- instructions: what is to be done --------------------------------------------------------------


class Start(NamedTuple):
    """Run a step; answered by `Finished` or `Failed`.

    Attributes:
        key: under which the store keeps its output.
        attempt: from 1 on.
        waited_s: since its inputs were there.
    """

    step: Step
    key: str
    attempt: int
    waited_s: float = 0.0


@dataclass(frozen=True)
class Help:
    """Have a board help with a step; answered by `HelpEnded`."""

    step: Step
    board: str


@dataclass(frozen=True)
class MoveSteps:
    """Give steps (by id) to other boards; answered by `StepsMoved` at once."""

    moved: Mapping[str, str]


@dataclass(frozen=True)
class InspectStore:
    """Read the store again; answered by `PlanChanged(inspected=True)` at once."""


@dataclass(frozen=True)
class ResolvePlan:
    """The store may have received something from another run: work out the keys again."""


@dataclass(frozen=True)
class Connect:
    """Connect a board; `check`: prove it by a tiny inference. Answered by `Connected`,
    `ConnectFailed` or `Unfit`."""

    board: str
    check: bool


@dataclass(frozen=True)
class Release:
    """Give a board back: nothing is left to do there."""

    board: str


@dataclass(frozen=True)
class Recover:
    """Carry out a recovery rung; answered by `Recovered` or `RecoveryFailed`."""

    board: str
    rung: str
    reason: FarmError


@dataclass(frozen=True)
class GiveUp:
    """A board is out of the run.

    Attributes:
        blameless: it is not the board's fault.
        found: the check that found it unfit, where one did.
    """

    board: str
    reason: FarmError
    blameless: bool = False
    found: object = None


@dataclass(frozen=True)
class ReportBoard:
    """Say how a board is."""

    board: str
    state: Literal["ready", "connecting"]
    reason: str = ""


class Why(Enum):
    """What a board waits for."""

    INPUT = "input"
    """A step that makes an input is not done; it is the subject."""
    MEASUREMENT = "measurement"
    """A measurement has the domain for itself, or is about to; it is the subject."""
    ALONE = "alone"
    """The board's own measurement waits until the subject, a step in its domain, ends."""
    PROCESSORS = "processors"
    """As many steps extract in its domain as have a processor each; the subject is one of them."""
    SAME = "same"
    """The subject, a running step, makes the same."""
    RETRY = "retry"
    """The subject, a step of the board's own, is tried again after a pause."""
    BOARD = "board"
    """Somebody else uses the board; the subject says who."""


@dataclass(frozen=True)
class Reason:
    """Why a board waits: boards that wait for the same have equal reasons.

    `subject` is the id of a step, or who uses a board; `domain` is the board's, where it matters.
    """

    why: Why
    subject: str
    domain: str = ""


@dataclass(frozen=True)
class ReportWaiting:
    """Say why boards wait; None: for nothing any more."""

    boards: tuple[str, ...]
    reason: Reason | None


@dataclass(frozen=True)
class Warn:
    """Say a warning about a board."""

    board: str
    message: str


@dataclass(frozen=True)
class ReportFailure:
    """Say that a step failed, and whether it is tried again."""

    step: Step
    failure: Failure
    retry: bool


@dataclass(frozen=True)
class ReportSkip:
    """Say that a step is skipped because of a source (by id) that has no output."""

    step: Step
    because: str


Instruction = (
    Start
    | Help
    | MoveSteps
    | InspectStore
    | ResolvePlan
    | Connect
    | Release
    | Recover
    | GiveUp
    | ReportBoard
    | ReportWaiting
    | Warn
    | ReportFailure
    | ReportSkip
)
