"""Which boards a run holds: reached, proved, given back, and the fleet log told of it.

A board is proved by a tiny real inference before it gets work when the fleet log does not say that
it is ready, and again after every failure. Whatever the plan believed of it is compared with what
it says of itself at each lease.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from orchestrator.errors import BoardError, FarmError, TransientError
from orchestrator.events import BoardChanged, BoardState, Note
from orchestrator.fleet.board import BoardBusy, Untrusted
from orchestrator.fleet.health import describe
from orchestrator.fleet.recovery import Rung, rungs
from orchestrator.planning.facts import BoardFacts
from orchestrator.scheduling.boards import Boards
from orchestrator.scheduling.planner import Plan
from orchestrator.scheduling.ray_local import RayDown
from orchestrator.scheduling.remembered import FactsFile
from orchestrator.scheduling.reporter import Reporter
from orchestrator.scheduling.roster import Roster
from orchestrator.scheduling.words import board_facts, change
from orchestrator.store.fleet_log import NOT_DESCRIBED, Checked, Described

SETTLE_S = 5.0
"""A board that was told to reboot still answers for a moment."""

MEETINGS = 4 * (os.cpu_count() or 1)
MEETING_S = 3.0
"""Meeting a board costs this host some tenths of a second of computing, so few are met at a time,
and the first of many can begin to work. One that takes longer than this waits for its board, not
for this host, and keeps nobody else from being met."""


class Leases:
    """The boards of a run, used from the driver's thread.

    Args:
        settle: called after the plan changed.
        replan: told of boards that are not as the plan believes.
        post: runs a function in the driver's thread, from any other.
        bug: told of exceptions that are farm's own.
        stopping: whether the run is being stopped.
    """

    def __init__(
        self,
        plan: Plan,
        boards: Boards,
        roster: Roster,
        reporter: Reporter,
        facts: FactsFile,
        *,
        settle: Callable[[], None],
        replan: Callable[[str], None],
        post: Callable[[Callable[[], None]], None],
        bug: Callable[[BaseException], None],
        stopping: Callable[[], bool],
        threads: ThreadPoolExecutor,
    ) -> None:
        self._plan, self._boards, self._roster = plan, boards, roster
        self._reporter, self._facts = reporter, facts
        self._settle, self._post, self._bug = settle, post, bug
        self._replan = replan
        self._meeting: dict[str, float] = {}
        self._threads, self._stopping = threads, stopping
        self._suspect: set[str] = set()
        self._told: dict[str, dict[str, str]] = {}
        self._described: dict[str, Described] = {}
        self._worked: dict[str, set[str]] = {}
        self._heat: dict[str, float] = {}
        self._climbed: dict[str, int] = {}  # rungs tried since the board last did a step

    def say(self, name: str, state: BoardState, reason: str = "", **facts: Any) -> None:
        """Report a board's state."""
        executed_by = self._plan.executed_by(name)
        self._reporter.emit(
            BoardChanged(
                board=name, state=state, executed_by=executed_by, reason=reason, facts=facts
            )
        )

    def reach(self, wanted: Collection[str]) -> None:
        """Connect the boards that something waits for; give back those with nothing left to do.

        Two runs that each hold a board the other waits for come to an end only because a run does
        not keep what it has no more use for.
        """
        now = time.monotonic()
        room = MEETINGS - sum(now - since < MEETING_S for since in self._meeting.values())
        due = [n for n in self._plan.boards if n in wanted and self._roster.due(n, now)]
        # Those that were tried before come last: silent boards keep no other waiting.
        for name in sorted(due, key=self._roster.tries)[: max(0, room)]:
            self._connect(name)
        for name in self._plan.boards:
            if name not in wanted and self._roster.connected(name):
                self._roster.let_go(name)
                self._boards.let_go(name)
                self.note_work(name)
                self.say(name, "released")

    def _connect(self, name: str) -> None:
        self._roster.connecting(name, time.monotonic())
        self._meeting[name] = time.monotonic()
        self.say(name, "connecting")
        runtimes: tuple[str, ...] = ()
        if name in self._suspect or self._plan.book.needs_check(name):
            runtimes = self._plan.runtimes(name)
        board = self._plan.boards[name]

        def work() -> None:
            try:
                facts = self._boards.connect(board, runtimes)
            except BaseException as error:
                self._post(lambda error=error: self._missed(name, error))  # type: ignore[misc]
            else:
                self._post(lambda: self._met(name, facts))

        self._threads.submit(work)

    def _met(self, name: str, facts: dict[str, Any]) -> None:
        self._meeting.pop(name, None)
        check = facts.pop("check", None)
        if check is not None and not self._is_fit(name, check["entry"], check["hint"]):
            return
        self._suspect.discard(name)
        self._roster.reached(name)
        known = self._plan.facts.get(name)
        found = board_facts(facts)
        self._told[name] = _versions(facts)
        self._describe(name, found)
        believed = self._plan.executed_by(name)
        if found != known or found.identity != known.identity:
            self._facts.save(self._plan.boards[name], found)
            self._plan.facts[name] = found
        self.say(name, "ready", **facts)
        if found != known or self._plan.executed_by(name) != believed:
            self._replan(name)
            if known is not None and found != known:
                self._reporter.emit(
                    Note(
                        level="warning",
                        board=name,
                        message=f"{name} is not as it was: planned again ({change(known, found)})",
                    )
                )

    def _describe(self, name: str, found: BoardFacts) -> None:
        """Remember what a board is, and say before its work begins that it is another or none."""
        described = describe(self._plan.boards[name], found.machine, found.identity)
        doubt = f"an emulator: {described.emulator}" if described.emulator else ""
        doubt = doubt or described.contradicts
        if doubt and described != self._described.get(name):
            text = f"{name}: {doubt}; its rows get no Time"
            self._reporter.emit(Note(level="warning", board=name, message=text))
        self._described[name] = described

    def _is_fit(self, name: str, entry: Checked, hint: str) -> bool:
        """Whether a check at lease lets the board work; the fleet log has how it ended."""
        if entry.temperature_c is not None:
            self._heat[name] = entry.temperature_c
        fit = entry.state == "ready" or not any(p.tried and not p.proved for p in entry.proofs)
        error = BoardError(f"{name}: {entry.reason}", hint)
        if not fit and self.recover(name, error):
            return False
        self._plan.book.checked(entry)
        if not fit:
            self._roster.unfit(name, error)
            self.say(name, "unfit", error.message)
        return fit

    def _missed(self, name: str, error: BaseException) -> None:
        self._meeting.pop(name, None)
        if self._stopping():
            return
        if not isinstance(error, FarmError):
            self._bug(error)
            traceback.print_exception(error)
            error = FarmError(f"{name}: farm's own bug while connecting: {error!r}")
        recoverable = self.recoverable(name, error)
        if self._roster.missed(name, error, time.monotonic(), recoverable=recoverable):
            self.say(name, "connecting", error.message)
            if isinstance(error, BoardBusy):
                # Whoever has the board may be making just what is wanted of it.
                self._plan.resolve()
                self._settle()
            return
        reason = self._roster.error(name) or error
        if recoverable and self.recover(name, reason):
            return
        self.give_up(name, reason, blameless=isinstance(error, (BoardBusy, RayDown)))

    def recoverable(self, name: str, error: BaseException) -> bool:
        """Whether a reboot or its power may help a board against an error, and is left to try."""
        if isinstance(error, BoardError):
            helps = name in self._told and not isinstance(error, Untrusted)
        else:
            others = isinstance(error, (BoardBusy, RayDown))
            helps = isinstance(error, TransientError) and not others
        return helps and len(rungs(self._plan.boards[name])) > self._climbed.get(name, 0)

    def recover(self, name: str, reason: FarmError) -> bool:
        """Take the next rung for a board that would be given up; False when none is left."""
        board = self._plan.boards[name]
        number = self._climbed.get(name, 0)
        if number >= len(rungs(board)):
            return False
        rung = rungs(board)[number]
        self._climbed[name] = number + 1
        self._suspect.add(name)
        self._roster.recovering(name)
        words = {"reboot": "rebooting it", "power": "cycling its power"}[rung]
        self.say(name, "recovering", f"{words}, since {reason.message}")
        self._plan.book.recovering(board, rung, reason.message.removeprefix(f"{name}: "))

        def work() -> None:
            problem = self._boards.recover(board, rung)
            self._post(lambda: self._has_climbed(name, rung, reason, problem))

        self._threads.submit(work)
        return True

    def _has_climbed(self, name: str, rung: Rung, reason: FarmError, problem: str) -> None:
        if self._stopping():
            return
        if problem:
            text = f"{name}: {rung} did not help: {problem.removeprefix(f'{name}: ')}"
            self._reporter.emit(Note(level="warning", board=name, message=text))
            if not self.recover(name, reason):
                self._roster.unfit(name, reason)
                self.give_up(name, reason)
            return
        boots_in_s = self._plan.boards[name].recovery.boots_in_s
        settle_s = min(SETTLE_S, boots_in_s / 10)
        self._roster.recovered(name, time.monotonic(), settle_s, boots_in_s)

    def give_up(self, name: str, reason: FarmError, *, blameless: bool = False) -> None:
        """A board is out of the run; the fleet log is told unless it is not the board's fault."""
        lost = isinstance(reason, TransientError)
        if not blameless and type(reason) is not FarmError:
            self._plan.book.failed(self._plan.boards[name], reason)
        self.say(name, "unreachable" if lost else "unfit", reason.message)

    def lost(self, name: str) -> None:
        """A step failed there: a new session, and a check before anything else."""
        self._suspect.add(name)
        self._roster.lost(name)

    def step_done(self, name: str, runtime: str | None, heat: float | None) -> None:
        """A step came to its end there; with a runtime, by real inferences."""
        self._roster.step_done(name)
        self._climbed.pop(name, None)
        if runtime is not None:
            self._worked.setdefault(name, set()).add(runtime)
        if heat is not None:
            self._heat[name] = heat
        self.say(name, "ready")

    def note_work(self, name: str) -> None:
        """Tell the fleet log that a board proved itself by its work."""
        runtimes = self._worked.pop(name, None)
        if runtimes:
            board, versions = self._plan.boards[name], self._told.get(name, {})
            described = self._described.get(name, NOT_DESCRIBED)
            heat = self._heat.get(name)
            self._plan.book.worked(board, runtimes, versions, heat, described)


def _versions(facts: dict[str, Any]) -> dict[str, str]:
    found = {name: str(facts.get(name) or "") for name in ("agent", "python", "os", "kernel")}
    found |= {name: str(version or "") for name, version in (facts.get("drivers") or {}).items()}
    found |= {name: str(each.get("version") or "") for name, each in facts["runtimes"].items()}
    return {name: text for name, text in found.items() if text and name != "timed"}
