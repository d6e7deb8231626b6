"""The driver's part that deals with pools: boards take over from each other and help each other."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from orchestrator.errors import BoardError, FarmError, TransientError
from orchestrator.events import Note
from orchestrator.planning.graph import ON_BOARD, Step
from orchestrator.scheduling.choosing import Candidate
from orchestrator.scheduling.execute import Executor
from orchestrator.scheduling.extracting import Unlike
from orchestrator.scheduling.leasing import Leases
from orchestrator.scheduling.planner import Plan
from orchestrator.scheduling.pools import alike, rebound, wanted_helpers
from orchestrator.scheduling.reporter import Reporter
from orchestrator.scheduling.roster import Roster
from orchestrator.store.artifacts import Spoiled

State = Literal["waiting", "running", "done", "failed", "skipped"]


class Pooling:
    """State and methods of the driver, used from its thread."""

    _plan: Plan
    _stop: threading.Event
    _state: dict[str, State]
    _not_before: dict[str, float]
    _roster: Roster
    _leases: Leases
    _executor: Executor
    _reporter: Reporter
    _inbox: queue.SimpleQueue[Callable[[], None]]
    _threads: ThreadPoolExecutor

    def __init__(self) -> None:
        self._failed_on: dict[str, set[str]] = {}
        self._helping: dict[str, Step] = {}
        self._has_helped: set[tuple[str, str]] = set()
        self._under_way: dict[str, str] = {}  # running steps and their keys

    def _usable(self, step: Step, board: str) -> bool:
        """Whether a board of a step's pool may be given it."""
        return (
            self._roster.error(board) is None
            and self._plan.book.refusal(board, step.extra.get("runtime")) is None
            and board not in self._failed_on.get(step.id, ())
        )

    def _startable(self, step: Step) -> bool:
        """Whether all that a waiting step on a board needs is there, apart from the board."""
        graph = self._plan.graph
        sources = [(graph.steps[s].stage, self._state[s]) for s in graph.sources(step.id)]
        return (
            self._state[step.id] == "waiting"
            and self._not_before.get(step.id, 0.0) <= time.monotonic()
            and all(state == "done" or stage == "deploy" for stage, state in sources)
            and ("deploy", "running") not in sources
            and not self._is_being_made(step)
        )

    def _is_being_made(self, step: Step) -> bool:
        """Whether a running step makes the same, as boards of one kind at two sites would.

        To start it too would only keep a board waiting for the other.
        """
        return self._plan.resolution.keys.get(step.id) in self._under_way.values()

    def _on_boards(self, *states: State) -> Iterator[Step]:
        for step in self._plan.graph.steps.values():
            if step.stage in ON_BOARD and self._state[step.id] in states:
                yield step

    def _rebind(self) -> None:
        """Give steps to other boards of their pool: theirs is out of use, or others are free."""
        if not any(len(step.pool) > 1 for step in self._on_boards("waiting")):
            return
        waiting = [step for step in self._on_boards("waiting") if step.stage != "deploy"]
        busy = {step.board for step in self._on_boards("running")} | set(self._helping)
        own = {step.board for step in waiting if self._startable(step)}

        def idle(name: str) -> bool:
            return self._roster.connected(name) and name not in busy and name not in own

        moved = rebound(waiting, startable=self._startable, usable=self._usable, idle=idle)
        if moved:
            self._plan.bound |= moved
            self._plan.settle()
            self._settle()

    def _settle(self) -> None:
        raise NotImplementedError

    def _another_board(self, step: Step) -> bool:
        """Whether others of the pool may do what failed on this board."""
        graph = self._plan.graph
        steps = [step]
        if step.stage == "deploy":
            steps = [s for s in graph.steps.values() if step.id in graph.sources(s.id)]
        for each in steps:
            self._failed_on.setdefault(each.id, set()).add(step.board)
        return bool(steps) and all(
            any(self._usable(each, name) for name in step.pool) for each in steps
        )

    def _wanted(self) -> set[str]:
        """Boards that have something to do, are doing it, or may help or take over."""
        wanted = set(self._helping)
        for step in self._on_boards("waiting", "running"):
            wanted.add(step.board)
            if len(step.pool) > 1:
                wanted |= set(wanted_helpers(step, self._usable))
                if self._state[step.id] == "waiting" and self._roster.late(step.board):
                    wanted |= {name for name in step.pool if self._usable(step, name)}
        return wanted

    # -- helping with an extraction ------------------------------------------------------------

    def _helpers(self, ready: list[Candidate]) -> dict[str, tuple[Step, Candidate]]:
        """Boards that could help now, with nothing of their own to do."""
        busy = {step.board for step in self._on_boards("running")} | set(self._helping)
        busy |= {candidate.board for candidate in ready}
        found: dict[str, tuple[Step, Candidate]] = {}
        for step in self._on_boards("running"):
            if len(step.pool) == 1:
                continue
            runtime = step.extra.get("runtime", "")
            identities = {n: f.runtime_identity(runtime) for n, f in self._plan.facts.items()}
            for name in wanted_helpers(step, self._usable):
                free = self._roster.connected(name) and name not in busy
                new = (step.id, name) not in self._has_helped
                if free and new and alike(step, name, identities):
                    busy.add(name)
                    domain = self._plan.boards[name].contention_domain
                    candidate = Candidate(f"{step.id}@{name}", "extract", name, domain, 0)
                    found[candidate.id] = step, candidate
        return found

    def _help(self, step: Step, board: str) -> None:
        self._helping[board] = step
        self._has_helped.add((step.id, board))
        self._leases.say(board, "busy", f"helps with {step.id}")

        def work() -> None:
            try:
                self._executor.help(step, board)
            except BaseException as error:
                self._inbox.put(lambda error=error: self._helped(step, board, error))  # type: ignore[misc]
            else:
                self._inbox.put(lambda: self._helped(step, board, None))

        self._threads.submit(work)

    def _helped(self, step: Step, board: str, error: BaseException | None) -> None:
        self._helping.pop(board, None)
        if error is None:
            heat = self._executor.heat.get(board)
            self._leases.step_done(board, step.extra["runtime"], heat)
            return
        if self._stop.is_set():
            return
        if not isinstance(error, FarmError):
            self._note_bug(error)
            traceback.print_exception(error)
            error = FarmError(f"{board}: farm's own bug while helping with {step.id}: {error!r}")
        self._reporter.emit(Note(level="warning", board=board, message=error.message))
        if isinstance(error, TransientError) and not isinstance(error, Spoiled):
            self._leases.lost(board)
            self._redeploy(board)
        elif isinstance(error, BoardError) and not isinstance(error, Unlike):
            self._roster.unfit(board, error)
            self._leases.give_up(board, error)
            return
        self._leases.say(board, "ready" if self._roster.connected(board) else "connecting")

    def _note_bug(self, error: BaseException) -> None:
        raise NotImplementedError

    def _redeploy(self, board: str) -> None:
        raise NotImplementedError
