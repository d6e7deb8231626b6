"""Where a run stands with each of its boards, and when to try again: pure, on a clock it is given.

- A board that somebody else uses is waited for, up to `queue_s`, without counting as failing.
- A board never met in this run is tried `ATTEMPTS` times; one that was met and then lost may be
  rebooting or behind a cut link, and is looked for up to `lost_s`.
- Whatever trying again cannot mend takes the board out of the run at once.
- Where a board can be rebooted or its power cycled, that comes before it is out of the run; it is
  then looked for as long as it needs to boot.
- Failing `SET_ASIDE_AFTER` steps in a row takes it out too, each step having been repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.errors import BoardError, FarmError, TransientError
from orchestrator.fleet.board import BoardBusy, Deadlines
from orchestrator.fleet.deadline import longer

ATTEMPTS = 3
BACKOFF_S = (1.0, 4.0)
LONGEST_WAIT_S = 15.0
SET_ASIDE_AFTER = 2

RECONNECT_S = 30.0
"""How long a lost board that can be recovered is looked for before that is done."""

Standing = Literal["away", "connecting", "connected", "recovering", "broken"]


@dataclass
class _Contact:
    standing: Standing = "away"
    not_before: float = 0.0
    tries: int = 0
    met: bool = False
    since: float = 0.0
    busy: bool = False
    failures: int = 0
    boots_in_s: float | None = None
    error: FarmError | None = None


class Roster:
    """The boards of a run. Used from one thread."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._contacts: dict[str, _Contact] = {}

    def _of(self, board: str) -> _Contact:
        return self._contacts.setdefault(board, _Contact())

    def connected(self, board: str) -> bool:
        """Whether steps may start there."""
        return self._of(board).standing == "connected"

    @property
    def all_connected(self) -> list[str]:
        """Names of the boards that this run holds."""
        return [name for name, found in self._contacts.items() if found.standing == "connected"]

    def late(self, board: str) -> bool:
        """Whether a board keeps waiting: used by others, not answering, or out of the run."""
        contact = self._of(board)
        return contact.busy or contact.tries > 1 or contact.standing == "broken"

    def error(self, board: str) -> FarmError | None:
        """Why a board is out of the run; None while it is not."""
        return self._of(board).error

    def tries(self, board: str) -> int:
        """How often it was tried in vain since it was last met."""
        return self._of(board).tries

    def due(self, board: str, now: float) -> bool:
        """Whether to start connecting now."""
        contact = self._of(board)
        return contact.standing == "away" and contact.not_before <= now

    def connecting(self, board: str, now: float) -> None:
        """An attempt has begun."""
        contact = self._of(board)
        contact.standing = "connecting"
        if contact.tries == 0:
            contact.since, contact.busy = now, False
        contact.tries += 1

    def reached(self, board: str) -> None:
        """The board is connected and ours."""
        contact = self._of(board)
        contact.standing, contact.met, contact.tries = "connected", True, 0
        contact.boots_in_s = None

    def missed(
        self, board: str, error: FarmError, now: float, *, recoverable: bool = False
    ) -> bool:
        """An attempt failed; returns whether another follows. Otherwise `error` says the reason.

        Args:
            recoverable: whether something can be done for the board when it is not found again.
        """
        contact = self._of(board)
        busy = isinstance(error, BoardBusy)
        if busy != contact.busy:
            contact.busy, contact.since, contact.tries = busy, now, 1
        contact.standing = "away"
        wait = min(LONGEST_WAIT_S, 2.0 ** min(contact.tries - 1, 10))
        spent = now - contact.since
        if busy:
            patience, word = self._deadlines.queue_s, "queue_s"
        elif contact.boots_in_s is not None:
            patience, word = contact.boots_in_s, "boots_in_s"
        elif contact.met and recoverable:
            patience, word = min(RECONNECT_S, self._deadlines.lost_s), "lost_s"
        elif contact.met:
            patience, word = self._deadlines.lost_s, "lost_s"
        else:
            patience, word = 0.0, ""
        if not isinstance(error, TransientError):
            return self._out(contact, error)
        if word:
            if spent + wait <= patience:
                contact.not_before = now + wait
                return True
            how = longer(word, patience)
            if word == "boots_in_s":
                how = "`recovery: {boots_in_s: ...}` in the inventory lets it boot longer"
            return self._out(
                contact,
                TransientError(
                    f"{error.message}; given up after {spent:.0f} s ({word}: {patience:g} s)",
                    f"`farm resume` tries again; {how}",
                ),
            )
        if contact.tries < ATTEMPTS:
            contact.not_before = now + BACKOFF_S[contact.tries - 1]
            return True
        return self._out(contact, error)

    def lost(self, board: str) -> None:
        """A step failed in a way that a new session may mend."""
        contact = self._of(board)
        if contact.standing not in ("broken", "recovering"):
            contact.standing, contact.not_before, contact.tries = "away", 0.0, 0

    def recovering(self, board: str) -> None:
        """The board is being rebooted or its power cycled: it is in the run again."""
        contact = self._of(board)
        contact.standing, contact.error, contact.failures = "recovering", None, 0

    def recovered(self, board: str, now: float, settle_s: float, boots_in_s: float) -> None:
        """That was done; the board is looked for while it boots."""
        contact = self._of(board)
        contact.standing, contact.tries, contact.busy = "away", 0, False
        contact.not_before, contact.boots_in_s = now + settle_s, boots_in_s

    def let_go(self, board: str) -> None:
        """Nothing is left to do there for now."""
        self.lost(board)

    def unfit(self, board: str, error: FarmError) -> None:
        """The board needs attention before it is used again."""
        self._out(self._of(board), error)

    def step_failed(self, board: str, error: FarmError) -> bool:
        """A step was given up there; returns whether this takes the board out of the run."""
        contact = self._of(board)
        contact.failures += 1
        if contact.failures < SET_ASIDE_AFTER or contact.standing == "broken":
            return False
        reason = (
            f"{board}: set aside after {contact.failures} steps in a row failed there, "
            f"{ATTEMPTS} times each; the last: {error.message}"
        )
        self._out(contact, BoardError(reason, error.hint))
        return True

    def step_done(self, board: str) -> None:
        """A step came to its end there."""
        self._of(board).failures = 0

    def _out(self, contact: _Contact, error: FarmError) -> bool:
        contact.standing, contact.error = "broken", error
        return False
