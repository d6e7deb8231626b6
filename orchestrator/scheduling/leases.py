"""Which boards a run holds: reached, proved, given back, and the fleet log told of it.

A board is proved by a tiny real inference before it gets work when the fleet log does not say that
it is ready, and again after every failure. Whatever the plan believed of it is compared with what
it says of itself at each lease.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Protocol, cast

from orchestrator.cluster.boards import Boards
from orchestrator.errors import BoardError, FarmError, TransientError
from orchestrator.events import BoardChanged, BoardState, Note
from orchestrator.fleet.boards.board import BoardBusy
from orchestrator.fleet.boards.health import describe
from orchestrator.fleet.boards.recovery import Rung
from orchestrator.planning.facts import BoardFacts, board_facts, change
from orchestrator.preflight.caches import FactsFile
from orchestrator.preflight.planner import Plan
from orchestrator.scheduling.background import Background
from orchestrator.scheduling.core.messages import (
    Connect,
    Connected,
    ConnectFailed,
    Event,
    GiveUp,
    Recover,
    Recovered,
    RecoveryFailed,
    Unfit,
)
from orchestrator.scheduling.error_labels import failure_of
from orchestrator.scheduling.reporter import Reporter
from orchestrator.specs.inventory import Board
from orchestrator.specs.runtimes import TRIAL, runtime
from orchestrator.store.fleet_entries import NOT_DESCRIBED, Checked, Described

CONNECTIONS = 4 * (os.cpu_count() or 1)
"""Boards that are being connected at a time."""
SAVE_S = 2.0
"""Between two writings of what boards have said, all of which is read and written for it."""


class Replan(Protocol):
    """Notes a board that is not as the plan believes; see `PlanUpkeep.note_board`."""

    def __call__(self, name: str, *, at_once: bool) -> None: ...


class Leases:
    """The boards of a run, used from the driver's thread; the core decides, this carries out.

    Args:
        handle: tells the core what happened.
        replan: told of boards that are not as the plan believes.
        bug: told of exceptions that are farm's own.
        stopping: whether the run is being stopped.
        background: from which the driver's thread takes what is posted.
    """

    def __init__(
        self,
        plan: Plan,
        boards: Boards,
        reporter: Reporter,
        facts: FactsFile,
        *,
        handle: Callable[[Event], None],
        replan: Replan,
        bug: Callable[[BaseException], None],
        stopping: Callable[[], bool],
        background: Background,
    ) -> None:
        self._plan, self._boards = plan, boards
        self._reporter, self._facts = reporter, facts
        self._handle, self._bug = handle, bug
        self._replan = replan
        self._background, self._stopping = background, stopping
        self._versions_reported: dict[str, dict[str, str]] = {}
        self._described: dict[str, Described] = {}
        self._worked: dict[str, set[str]] = {}
        self._heat: dict[str, float] = {}
        self._unsaved: dict[str, tuple[Board, BoardFacts]] = {}
        self._next_save = 0.0

    def say(self, name: str, state: BoardState, reason: str = "", **facts: Any) -> None:
        """Report a board's state."""
        executed_by = self._plan.executed_by(name)
        self._reporter.emit(
            BoardChanged(
                board=name, state=state, executed_by=executed_by, reason=reason, facts=facts
            )
        )

    def connect(self, instruction: Connect) -> None:
        """Connect a board, and prove it where that is due; the core is told."""
        name = instruction.board
        reserved = self._plan.book.reserved(name)
        if reserved is not None:  # waited for as for whoever works there
            error = BoardBusy(f"{name} is {reserved.words}", "`farm boards show` has the queue")
            self._background.post(lambda: self._not_connected(name, error))
            return
        self.say(name, "connecting")
        check = instruction.check or self._plan.book.needs_check(name)
        runtimes = self._plan.runtimes(name) if check else ()
        board = self._plan.boards[name]

        def work() -> None:
            try:
                facts = self._boards.connect(board, runtimes)
            except BaseException as error:
                self._background.post(lambda error=error: self._not_connected(name, error))  # type: ignore[misc]
            else:
                self._background.post(lambda: self._connected(name, facts))

        self._background.submit(work)

    def _connected(self, name: str, facts: dict[str, Any]) -> None:
        check = facts.pop("check", None)
        if check is not None and not self._is_fit(name, check["entry"], check["hint"]):
            return
        self._handle(Connected(name))
        known = self._plan.facts.get(name)
        found = board_facts(facts)
        self._versions_reported[name] = _versions(facts)
        self._describe(name, found)
        believed = self._plan.executed_by(name)
        if found != known or found.identity != known.identity:
            self._unsaved[name] = self._plan.boards[name], found
            self._plan.facts[name] = found
        self.say(name, "ready", **facts)
        another = self._plan.executed_by(name) != believed
        if found != known or another:
            self._replan(name, at_once=known is not None or another)
            if known is not None and found != known:
                self._reporter.emit(
                    Note(
                        level="warning",
                        board=name,
                        message=f"{name} changed since it was planned: replanning "
                        f"({change(known, found)})",
                    )
                )

    def save_facts(self, *, at_once: bool = False) -> None:
        """Remember for later runs what boards have said, every few seconds."""
        now = time.monotonic()
        if self._unsaved and (at_once or now >= self._next_save):
            self._facts.save(self._unsaved.values())
            self._unsaved, self._next_save = {}, now + SAVE_S

    def _describe(self, name: str, found: BoardFacts) -> None:
        """Remember what a board is, and say before its work begins that it is another or none."""
        board = self._plan.boards[name]
        offer = self._plan.capabilities.get(board.toolchain_for("auto"))
        toolkit = offer.version if offer is not None and not offer.missing else ""
        described = describe(board, found.machine, found.identity, found.runtimes, toolkit)
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
        if entry.state == "ready" or not any(p.tried and not p.proved for p in entry.proofs):
            self._plan.book.checked(entry)
            return True
        self._handle(Unfit(name, BoardError(f"{name}: {entry.reason}", hint), entry))
        return False

    def _not_connected(self, name: str, error: BaseException) -> None:
        if not isinstance(error, FarmError) and not self._stopping():
            self._bug(error)
        self._handle(ConnectFailed(name, failure_of(error, f"{name}: while connecting")))

    def release(self, name: str) -> None:
        """Give a board back."""
        self._boards.let_go(name)
        self.note_work(name)
        self.say(name, "released")

    def recover(self, instruction: Recover) -> None:
        """Reboot a board or cycle its power; the core is told."""
        name, reason = instruction.board, instruction.reason
        board, rung = self._plan.boards[name], instruction.rung
        words = {"reboot": "rebooting it", "power": "cycling its power"}[rung]
        self.say(name, "recovering", f"{words}, since {reason.message}")
        self._plan.book.recovering(board, rung, reason.message.removeprefix(f"{name}: "))

        def work() -> None:
            problem = self._boards.recover(board, cast(Rung, rung))
            self._background.post(lambda: self._recovery_ended(instruction, problem))

        self._background.submit(work)

    def _recovery_ended(self, instruction: Recover, problem: str) -> None:
        name = instruction.board
        if not problem:
            self._handle(Recovered(name))
            return
        if not self._stopping():
            problem = problem.removeprefix(f"{name}: ")
            text = f"{name}: {instruction.rung} did not help: {problem}"
            self._reporter.emit(Note(level="warning", board=name, message=text))
        self._handle(RecoveryFailed(name, instruction.reason))

    def give_up(self, instruction: GiveUp) -> None:
        """A board is out of the run; the fleet log is told unless it is not the board's fault."""
        name, reason = instruction.board, instruction.reason
        if isinstance(instruction.found, Checked):
            self._plan.book.checked(instruction.found)
        elif not instruction.blameless and type(reason) is not FarmError:
            self._plan.book.failed(self._plan.boards[name], reason)
        lost = isinstance(reason, TransientError)
        self.say(name, "unreachable" if lost else "unfit", reason.message)

    def step_done(self, name: str, runtime: str | None, heat: float | None) -> None:
        """A step came to its end there; with a runtime, by real inferences."""
        if runtime is not None:
            self._worked.setdefault(name, set()).add(runtime)
        if heat is not None:
            self._heat[name] = heat
        self.say(name, "ready")

    def note_work(self, name: str) -> None:
        """Tell the fleet log that a board proved itself by its work."""
        runtimes = self._worked.pop(name, None)
        if runtimes:
            board, versions = self._plan.boards[name], self._versions_reported.get(name, {})
            described = self._described.get(name, NOT_DESCRIBED)
            heat = self._heat.get(name)
            self._plan.book.worked(board, runtimes, versions, heat, described)


def _versions(facts: dict[str, Any]) -> dict[str, str]:
    found = {name: str(facts.get(name) or "") for name in ("agent", "python", "os", "kernel")}
    found |= {name: str(version or "") for name, version in (facts.get("drivers") or {}).items()}
    found |= {name: str(each.get("version") or "") for name, each in facts["runtimes"].items()}
    return {name: text for name, text in found.items() if text and runtime(name).role != TRIAL}
