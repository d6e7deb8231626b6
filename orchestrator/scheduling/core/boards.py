"""When a board is connected, recovered or out of the run: pure, on a clock it is given.

- A board that somebody else uses is waited for, up to `queue_s`, without counting as a failure.
- A board never connected in this run is tried `ATTEMPTS` times; one that was connected and then
  lost may be rebooting or behind a cut link, and is tried up to `lost_s`.
- Whatever another attempt cannot fix takes the board out of the run at once.
- Where a board can be rebooted or its power cycled, that comes before it is out of the run; it is
  then tried for as long as it needs to boot.
- `SET_ASIDE_AFTER` failed steps in a row take it out too, each step having been repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator.errors import BoardError, FarmError, TransientError
from orchestrator.fleet.transport.deadline import longer
from orchestrator.scheduling.core.messages import (
    BoardProfile,
    Connect,
    Failure,
    FailureKind,
    GiveUp,
    Instruction,
    PlanView,
    Reason,
    Recover,
    Release,
    ReportBoard,
    ReportWaiting,
    ResolvePlan,
    Why,
)
from orchestrator.scheduling.core.states import BoardState, States

ATTEMPTS = 3
BACKOFF_S = (1.0, 4.0)
LONGEST_WAIT_S = 15.0
SET_ASIDE_AFTER = 2

RECONNECT_S = 30.0
"""How long a lost board that can be recovered is tried before that is done."""

CONNECTING_S = 3.0
"""Connecting costs this host some tenths of a second of computing, so few boards are connected at
a time, and the first of many can begin to work. One that takes longer than this waits for its
board, not for this host, and keeps no other board waiting."""

SETTLE_S = 5.0
"""A board that was told to reboot still answers for a moment."""


class Limits(Protocol):
    """Seconds; see `Deadlines`."""

    @property
    def queue_s(self) -> float:
        """Waiting for a board that somebody else uses."""

    @property
    def lost_s(self) -> float:
        """Trying to connect a board that was lost."""


@dataclass
class _Contact:
    """What is remembered of a board.

    Attributes:
        attempts: to connect, since it was last connected.
        began: when the latest of them did.
        since: when the present trouble did, of which `busy` says whether it is somebody else.
        met: whether it was connected in this run.
        suspect: whether it is to be proved before it gets work.
        failures: steps in a row that failed there.
        climbed: recovery rungs tried since it last did a step.
        boots_in_s: while it may be booting.
    """

    not_before: float = 0.0
    attempts: int = 0
    began: float = 0.0
    since: float = 0.0
    busy: bool = False
    met: bool = False
    suspect: bool = False
    failures: int = 0
    climbed: int = 0
    boots_in_s: float | None = None
    error: FarmError | None = None


class BoardTable:
    """The boards of a run.

    Args:
        connections: how many are being connected at a time.
    """

    def __init__(self, limits: Limits, connections: int = 4) -> None:
        self._limits, self._connections = limits, connections
        self._states: States[BoardState] = States("board", BoardState.AWAY)
        self._contacts: dict[str, _Contact] = {}
        self._profiles: Mapping[str, BoardProfile] = {}
        self._refusals: Mapping[tuple[str, str | None], FarmError] = {}
        self._reserved: frozenset[str] = frozenset()
        self._met_one = False  # a flag, since it is asked for at every start

    def take_plan(self, plan: PlanView) -> None:
        """Boards may have joined, and others may get work now."""
        self._profiles, self._refusals = plan.boards, plan.refusals
        for board in self._reserved - plan.reserved:  # theirs no more: nothing else is waited for
            self._of(board).not_before = 0.0
        self._reserved = plan.reserved

    def _of(self, board: str) -> _Contact:
        found = self._contacts.get(board)
        if found is None:
            found = self._contacts[board] = _Contact()
        return found

    # -- questions -----------------------------------------------------------------------------

    def state(self, board: str) -> BoardState:
        """A board's state."""
        return self._states[board]

    def connected(self, board: str) -> bool:
        """Whether this run holds it."""
        return self._states[board] is BoardState.CONNECTED

    def open(self, board: str) -> bool:
        """Whether steps may start there: held, and not reserved by somebody else."""
        return self._states[board] is BoardState.CONNECTED and board not in self._reserved

    @property
    def all_connected(self) -> list[str]:
        """Names of the boards that this run holds."""
        return self._states.named(BoardState.CONNECTED)

    def first_to_come(self, now: float) -> bool:
        """Whether no board was held yet, and this host is busy with connecting the first."""
        return not self._met_one and self._costly(now) > 0

    def delayed(self, board: str) -> bool:
        """Whether a board keeps waiting: used by others, not answering, or out of the run."""
        contact = self._of(board)
        return contact.busy or contact.attempts > 1 or self.state(board) is BoardState.BROKEN

    def error(self, board: str) -> FarmError | None:
        """Why a board is out of the run; None while it is not."""
        return self._of(board).error

    def refusal(self, board: str, runtime: str | None) -> FarmError | None:
        """Why a board gets no work with a runtime; None when it may."""
        return self.error(board) or self._refusals.get((board, runtime))

    def due(self, board: str, now: float) -> bool:
        """Whether to start connecting now."""
        return self.state(board) is BoardState.AWAY and self._of(board).not_before <= now

    # -- connecting ----------------------------------------------------------------------------

    def reach(self, wanted: Collection[str], now: float) -> list[Instruction]:
        """Connect the boards that something waits for; give back those with nothing left to do.

        Two runs that each hold a board the other waits for come to an end only because a run does
        not keep what it has no more use for.
        """
        out: list[Instruction] = []
        room = self._connections - self._costly(now)
        due = [name for name in self._profiles if name in wanted and self.due(name, now)]
        # Boards that did not answer come last: they keep no other waiting.
        due.sort(key=lambda name: self._of(name).attempts)
        for name in due[: max(0, room)]:
            self.connecting(name, now)
            out.append(Connect(name, self._of(name).suspect))
        for name in self._profiles:
            if name not in wanted and self.connected(name):
                self._away(name, "nothing left to do there")
                out.append(Release(name))
        return out

    def _costly(self, now: float) -> int:
        """How many boards are being connected at the cost of this host."""
        connecting = self._states.named(BoardState.CONNECTING)
        return sum(now - self._of(name).began < CONNECTING_S for name in connecting)

    def connecting(self, board: str, now: float) -> None:
        """An attempt has begun."""
        contact = self._of(board)
        if contact.attempts == 0:
            contact.since, contact.busy = now, False
        contact.attempts += 1
        contact.began = now
        self._states.move(board, BoardState.CONNECTING, f"attempt {contact.attempts}")

    def reached(self, board: str) -> None:
        """The board is connected and ours."""
        contact = self._of(board)
        contact.met, contact.attempts, contact.suspect = True, 0, False
        self._met_one = True
        contact.boots_in_s = None
        self._states.move(board, BoardState.CONNECTED)

    def connect_failed(self, board: str, failure: Failure, now: float) -> list[Instruction]:
        """An attempt failed: another follows, or a recovery, or the board is out of the run."""
        recoverable = self.recoverable(board, failure)
        if self._another_attempt(board, failure, now, recoverable):
            busy = failure.kind is FailureKind.BOARD_BUSY
            say = ReportBoard(board, "connecting", failure.error.message)
            # Whoever has the board may be making just what is wanted of it.
            who = Reason(Why.BOARD, failure.error.message.removeprefix(f"{board}: "))
            return [say, ReportWaiting((board,), who), ResolvePlan()] if busy else [say]
        reason = self.error(board) or failure.error
        if recoverable and (recovery := self.recover(board, reason)) is not None:
            return [recovery]
        blameless = failure.kind in (FailureKind.BOARD_BUSY, FailureKind.CLUSTER_DOWN)
        return [GiveUp(board, reason, blameless)]

    def _another_attempt(self, board: str, failure: Failure, now: float, recoverable: bool) -> bool:
        """Whether another attempt follows; else the board is out, and `error` says why."""
        contact, error = self._of(board), failure.error
        busy = failure.kind is FailureKind.BOARD_BUSY
        if busy != contact.busy:
            contact.busy, contact.since, contact.attempts = busy, now, 1
        if not failure.kind.transient:
            self.out(board, error)
            return False
        patience, name = self._patience(contact, recoverable)
        if name:
            wait = min(LONGEST_WAIT_S, 2.0 ** min(contact.attempts - 1, 10))
            spent = now - contact.since
            if spent + wait <= patience:
                contact.not_before = now + wait
                self._states.move(board, BoardState.AWAY, error.message)
                return True
            how = longer(name, patience)
            if name == "boots_in_s":
                how = "`recovery: {boots_in_s: ...}` in the inventory lets it boot longer"
            error = TransientError(
                f"{error.message}; given up after {spent:.0f} s ({name}: {patience:g} s)",
                f"`farm resume` tries again; {how}",
            )
        elif contact.attempts < ATTEMPTS:
            contact.not_before = now + BACKOFF_S[contact.attempts - 1]
            self._states.move(board, BoardState.AWAY, error.message)
            return True
        self.out(board, error)
        return False

    def _patience(self, contact: _Contact, recoverable: bool) -> tuple[float, str]:
        """Seconds that a board is tried, and the deadline's name; none before it was connected."""
        if contact.busy:
            return self._limits.queue_s, "queue_s"
        if contact.boots_in_s is not None:
            return contact.boots_in_s, "boots_in_s"
        if contact.met:
            lost_s = self._limits.lost_s
            return (min(RECONNECT_S, lost_s) if recoverable else lost_s), "lost_s"
        return 0.0, ""

    # -- lost, recovered, out of the run -------------------------------------------------------

    def lost(self, board: str) -> None:
        """A step failed in a way that a new session may fix: that, and a check before the next."""
        self._of(board).suspect = True
        if self.state(board) is BoardState.CONNECTED:
            self._away(board, "its session is lost")

    def _away(self, board: str, why: str) -> None:
        contact = self._of(board)
        contact.not_before, contact.attempts = 0.0, 0
        self._states.move(board, BoardState.AWAY, why)

    def recoverable(self, board: str, failure: Failure) -> bool:
        """Whether a reboot or its power may help a board against a failure, and is left to try."""
        kind, contact = failure.kind, self._of(board)
        if kind.of_board:
            helps = contact.met and kind is not FailureKind.UNTRUSTED
        else:
            others = (FailureKind.BOARD_BUSY, FailureKind.CLUSTER_DOWN)
            helps = kind.transient and kind not in others
        return helps and contact.climbed < len(self._rungs(board))

    def recover(self, board: str, reason: FarmError) -> Recover | None:
        """Take the next rung for a board that would be given up; None when none is left."""
        contact, rungs = self._of(board), self._rungs(board)
        if contact.climbed >= len(rungs):
            return None
        rung = rungs[contact.climbed]
        contact.climbed += 1
        contact.suspect, contact.error, contact.failures = True, None, 0
        self._states.move(board, BoardState.RECOVERING, rung)
        return Recover(board, rung, reason)

    def _rungs(self, board: str) -> tuple[str, ...]:
        profile = self._profiles.get(board)
        return profile.rungs if profile else ()

    def recovered(self, board: str, now: float) -> None:
        """A rung was carried out; the board is tried while it boots."""
        contact, boots_in_s = self._of(board), self._profiles[board].boots_in_s
        contact.attempts, contact.busy = 0, False
        contact.not_before = now + min(SETTLE_S, boots_in_s / 10)
        contact.boots_in_s = boots_in_s
        self._states.move(board, BoardState.AWAY, "booting")

    def recovery_failed(self, board: str, reason: FarmError) -> Instruction:
        """A rung could not be carried out: the next one, or the board is out of the run."""
        recovery = self.recover(board, reason)
        if recovery is not None:
            return recovery
        self.out(board, reason)
        return GiveUp(board, reason)

    def unfit(self, board: str, reason: FarmError, found: object = None) -> Instruction:
        """A check before work found the board unfit: recovered, or out of the run."""
        recovery = self.recover(board, reason)
        if recovery is not None:
            return recovery
        self.out(board, reason)
        return GiveUp(board, reason, found=found)

    def out(self, board: str, error: FarmError) -> None:
        """The board needs attention before it is used again."""
        self._of(board).error = error
        self._states.move(board, BoardState.BROKEN, error.message)

    # -- steps there ---------------------------------------------------------------------------

    def step_failed(self, board: str, error: FarmError) -> None:
        """A step was given up there; too many in a row take the board out of the run."""
        contact = self._of(board)
        contact.failures += 1
        if contact.failures < SET_ASIDE_AFTER or self.state(board) is BoardState.BROKEN:
            return
        reason = (
            f"{board}: set aside after {contact.failures} steps in a row failed there, "
            f"{ATTEMPTS} times each; the last: {error.message}"
        )
        self.out(board, BoardError(reason, error.hint))

    def step_done(self, board: str) -> None:
        """A step came to its end there."""
        contact = self._of(board)
        contact.failures = contact.climbed = 0
