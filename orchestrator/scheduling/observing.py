"""What a run's events say of how long its work takes: a fold, on the events' own clock.

The same fold serves the driver, which learns from its own run, and whoever reads an event log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.events import (
    BoardChanged,
    Event,
    PlanChanged,
    RunStarted,
    StepFailed,
    StepFinished,
    StepInfo,
    StepProgress,
    StepSkipped,
    StepStarted,
    Waiting,
)
from orchestrator.planning.graph import HEAD_DOMAIN
from orchestrator.planning.paces import Observation
from orchestrator.planning.sharing import Shared, wanted
from orchestrator.planning.stage_facts import STAGE_FACTS, UNKNOWN
from orchestrator.planning.work import Work

BEGIN, RAY = Work("begin"), Work("ray")
GOES_ON = frozenset(name for name, facts in STAGE_FACTS.items() if facts.resumes)
"""Stages that go on from what an earlier attempt has kept."""
AT_ONCE = 0.1
"""Of a step's time: what it says so soon to have done was kept."""


@dataclass
class _Attempt:
    """What a running step has said.

    Attributes:
        since: when it was started; None where nobody said so.
        done, total: its units, as last told.
        first: when it said for the first time how far it was, and how far.
    """

    since: float | None = None
    done: int = 0
    total: int = 0
    first: tuple[float, int] | None = None

    def progressed(self, event: StepProgress) -> None:
        """It has said how far it is."""
        self.done, self.total = event.done, event.total
        if self.first is None:
            self.first = (event.at, event.done)

    def share_before(self, ended: float) -> float | None:
        """The share, 0 to 1, that was done before it; None where it said too little, too late.

        Args:
            ended: when it did, Unix seconds.
        """
        if not self.total or self.first is None:
            return None
        first_at, done = self.first
        began = ended if self.since is None else self.since
        soon = first_at - began < AT_ONCE * (ended - began)
        return done / self.total if soon else None


class Observer:
    """What was seen of this run so far, and what runs.

    Args:
        processors: of the head.
        domains: contention domains of boards that no step names.

    Attributes:
        observations: in the order in which the steps ended.
        steps: the plan as last told.
        state: of steps: `running`, `done`, `failed` or `skipped`; the others wait.
        ray: whether it is up.
        started: when the run was, Unix seconds.
        begun: whether the driver has begun.
        connected: boards.
    """

    def __init__(self, processors: int, domains: Mapping[str, str] | None = None) -> None:
        self.observations: list[Observation] = []
        self._processors, self._given = processors, domains or {}
        self._forget()

    def _forget(self) -> None:
        self.steps: dict[str, StepInfo] = {}
        self.state: dict[str, str] = {}
        self.ray = self.begun = False
        self.connected: set[str] = set()
        self.shared = Shared({HEAD_DOMAIN: self._processors})
        self.started = 0.0
        self._domains: dict[str, str] = {}
        self._work_on: dict[str, str] = {}
        self._delayed: set[str] = set()  # on the head, before Ray is up
        self._connecting: set[str] = set()
        self._attempts: dict[str, _Attempt] = {}

    def domain(self, board: str) -> str:
        """A board's contention domain, as far as a step on it says."""
        if not board:
            return HEAD_DOMAIN
        return self._domains.get(board) or self._given.get(board, board)

    def share(self, step: str) -> float | None:
        """How much of a running step is done, 0 to 1; None where it does not say."""
        attempt = self._attempts.get(step)
        return attempt.done / attempt.total if attempt and attempt.total else None

    def take(self, event: Event) -> list[Observation]:
        """Take an event in; returns what it adds to the observations."""
        before = len(self.observations)
        if not self.begun and isinstance(event, BoardChanged | StepStarted | Waiting):
            self.begun = True
            self._see(BEGIN, event.at - self.started)
        match event:
            case RunStarted():
                self._forget()
                self.started = event.at
                self.plan(event.steps)
            case PlanChanged():
                if not event.partial:
                    self.steps = {s: i for s, i in self.steps.items() if s in self.state}
                self.plan(event.steps, event.gone)
            case Waiting() if "" in event.boards:
                self._ray(event)
            case BoardChanged():
                self._board(event)
            case StepStarted():
                self._start(event)
            case StepProgress():
                if not event.note:
                    self._attempts.setdefault(event.step, _Attempt()).progressed(event)
            case StepFinished():
                self._finish(event)
            case StepFailed():
                self._end(event.step, event.board, event.at)
                self.state[event.step] = "waiting" if event.retry else "failed"
            case StepSkipped():
                self.state[event.step] = "skipped"
            case _:
                pass
        return self.observations[before:]

    def _see(self, work: Work, seconds: float, units: int = 1, least: float = 0.0) -> None:
        self.observations.append(Observation(work, units, seconds, least))

    def plan(self, steps: tuple[StepInfo, ...], gone: tuple[str, ...] = ()) -> None:
        """Steps that are new or not as before, and those that are no longer in the plan."""
        for step in gone:
            self.steps.pop(step, None)
        for info in steps:
            self.steps[info.id] = info
            if info.cached:
                self.state.setdefault(info.id, "done")
        on_boards = [info for info in self.steps.values() if info.board]
        self._domains = {info.board: info.domain for info in on_boards if info.domain}
        self._work_on = {info.board: info.work for info in reversed(on_boards) if info.work}

    def _ray(self, event: Waiting) -> None:
        if event.why == "ray":
            self.ray = False
            self.shared.start(RAY, HEAD_DOMAIN, 1.0, event.at)
        elif not event.why:
            self._ray_is_up(event.at)

    def _ray_is_up(self, at: float) -> None:
        if self.ray:
            return
        self.ray = True
        if RAY in self.shared.running(HEAD_DOMAIN):
            self._see(RAY, self.shared.end(RAY, HEAD_DOMAIN, at))
        for step in self._delayed:
            self.shared.start(step, HEAD_DOMAIN, self._wants(step), at)
        for board in self._connecting:
            self.shared.start(board, self.domain(board), 1.0, at)
        self._delayed.clear()

    def _wants(self, step: str) -> float:
        info = self.steps.get(step)
        if info is None:
            return 1.0
        facts = STAGE_FACTS.get(info.stage, UNKNOWN)
        return wanted(info.all_processors or facts.all_processors, self._processors)

    def _board(self, event: BoardChanged) -> None:
        board, domain = event.board, self.domain(event.board)
        if event.state == "connecting" and not event.reason:
            self.connected.discard(board)
            self._connecting.add(board)
            if self.ray:
                self.shared.start(board, domain, 1.0, event.at)
            return
        if board in self._connecting and event.state in ("ready", "busy"):
            self._connecting.discard(board)
            seconds = self.shared.end(board, domain, event.at)
            work = self.connecting(board)
            if work is not None and seconds > 0:
                self._see(work, seconds)
        if event.state in ("ready", "busy"):
            self._ray_is_up(event.at)  # no board is connected without
            self.connected.add(board)
        else:
            self.connected.discard(board)
            if board in self._connecting:
                self._connecting.discard(board)
                self.shared.end(board, domain, event.at)

    def connecting(self, board: str) -> Work | None:
        """The work of connecting a board, by what a step there says of it."""
        text = self._work_on.get(board)
        if text is None:
            return None
        work = Work.from_text(text)
        return Work("connect", work.place, board=board)

    def _start(self, event: StepStarted) -> None:
        self.state[event.step] = "running"
        self._attempts[event.step] = _Attempt(event.at)
        if not event.board and STAGE_FACTS.get(event.stage, UNKNOWN).needs_ray and not self.ray:
            self._delayed.add(event.step)
            return
        self.shared.start(event.step, self.domain(event.board), self._wants(event.step), event.at)

    def _end(self, step: str, board: str, at: float) -> float:
        self._delayed.discard(step)
        return self.shared.end(step, self.domain(board), at)

    def _finish(self, event: StepFinished) -> None:
        seconds = self._end(event.step, event.board, event.at)
        self.state[event.step] = "done"
        info = self.steps.get(event.step)
        attempt = self._attempts.pop(event.step, _Attempt())
        if event.cached or info is None or not info.work or seconds <= 0:
            return
        units = info.units if event.units is None else event.units
        share = attempt.share_before(event.at) if info.stage in GOES_ON else None
        if share is not None:
            units = max(1, round(units * (1 - share)))
        self._see(Work.from_text(info.work), seconds, units, info.least)
