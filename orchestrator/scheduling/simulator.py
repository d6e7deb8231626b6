"""The scheduler on a virtual clock: how long a matrix takes with which boards, and what waits.

Pure and seeded. The scheduling core of a run decides here too. Steps that share processors slow
each other down as in a run (`planning/sharing.py`).
"""

from __future__ import annotations

import gc
import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from orchestrator.errors import BoardError
from orchestrator.planning.critical_path import Lead, leads, ranks
from orchestrator.planning.graph import HEAD_DOMAIN, Graph, Step, bind_in_turn, without_deploys
from orchestrator.planning.lower_bound import lower_bound, pool_name
from orchestrator.planning.resolving import Resolution
from orchestrator.planning.shared_clocks import Clock, SharedClocks
from orchestrator.scheduling.core import messages as m
from orchestrator.scheduling.core.scheduler import Scheduler
from orchestrator.scheduling.core.states import StepState

SHARING_LOSS = 0.02
"""Of a helper's pace, what canary and ends of pieces cost."""

LEAST_HELP = 64
"""Images left below which no other board joins an extraction."""


class Span(NamedTuple):
    """A board (empty: the head) worked on a step from `start` to `stop`, virtual seconds."""

    step: str
    board: str
    start: float
    stop: float
    done: bool = True


@dataclass(frozen=True)
class Simulation:
    """Simulation result.

    Attributes:
        makespan_s: until the last step ended.
        bound_s: no schedule is shorter: the critical path, the busiest pool's work over all its
            boards, or the head's over its slots.
        bound_by: which of these.
        spans: who did what when.
        finished, failed: steps.
        waited_s: seconds that steps, whose inputs were there, waited for a board, by its pool; for
            the head under the empty name.
    """

    makespan_s: float
    bound_s: float
    bound_by: str
    spans: tuple[Span, ...]
    finished: frozenset[str]
    failed: frozenset[str]
    waited_s: Mapping[str, float]

    def busy_s(self) -> dict[str, float]:
        """Seconds of work by board, the head's under the empty name."""
        total: dict[str, float] = defaultdict(float)
        for span in self.spans:
            total[span.board] += span.stop - span.start
        return dict(total)


@dataclass(slots=True)
class _Running:
    step: Step
    left: float  # of the whole, 1 to 0
    clock: Clock
    since: float  # on its clock
    paces: dict[str, float] = field(default_factory=dict)  # board to share of the whole a second
    joined: dict[str, float] = field(default_factory=dict)
    turn: int = 0  # which of the announced ends is still meant; none is once it has ended
    pace: float = 0.0  # share of the whole by a second of its clock

    def advance(self, now: float) -> None:
        at = self.clock.at(now)
        self.left -= (at - self.since) * self.pace
        self.since = at


_FAR = float("inf")
_LOOK = m.Look()


class _NoLimits:
    """No board of a simulation is waited for."""

    queue_s = lost_s = _FAR


class _Simulator:
    """A virtual clock over the scheduling core: what it wants done takes as long as is said."""

    def __init__(
        self,
        graph: Graph,
        lean: Graph,
        domains: Mapping[str, str],
        seconds: Callable[[Step, str], float],
        head_slots: int,
        deaths: Mapping[str, float],
        jitter: float,
        seed: int,
        processors: Mapping[str, int],
        begun: Mapping[str, float] | None,
    ) -> None:
        self._seconds = seconds
        self._sharing = SharedClocks({"": HEAD_DOMAIN, **domains}, processors)
        self._begun = begun or {}
        self._deaths = sorted(((at, name) for name, at in deaths.items()), reverse=True)
        self._chance, self._jitter = random.Random(seed), jitter
        self._running: dict[str, _Running] = {}
        self._uneven: set[str] = set()  # steps on boards of several domains, one of them shared
        self._spans: list[Span] = []
        self._waited: dict[str, float] = defaultdict(float)
        self.now = 0.0
        self._core = Scheduler(_NoLimits(), head_slots)
        boards = {name: m.BoardProfile(domain) for name, domain in domains.items() if name}
        sharing = {name for name, domain in domains.items() if name and domain == HEAD_DOMAIN}
        lead = leads(graph, lambda step: seconds(step, step.board), sharing)
        rank = ranks(graph, lambda step: seconds(step, step.board))
        if begun is None:
            self._graph = lean
            bind_in_turn(self._graph)
        else:
            self._graph = graph
        self._take(self._begun, boards, lead, rank)
        self._handle(m.ConnectedFromStart(tuple(boards)))
        if self._begun:
            self._look()
            self._take(self._graph.steps, boards, lead, rank)

    def _take(
        self,
        steps: Iterable[str],
        boards: Mapping[str, m.BoardProfile],
        lead: Mapping[str, Lead],
        rank: Mapping[str, float],
    ) -> None:
        """Give the core a plan of some steps: those under way come first, so that they start."""
        ids = list(steps) or list(self._graph.steps)
        known = set(ids)
        graph = self._graph
        if len(known) < len(graph.steps):
            some = (step for step in graph.steps.values() if step.id in known)
            graph = Graph({step.id: self._alone(step, known) for step in some}, {})
        every = Resolution(keys={step_id: step_id for step_id in ids}, todo=ids)
        self._handle(m.PlanChanged(m.PlanView(graph, every, boards, lead, rank)))

    def _alone(self, step: Step, known: Set[str]) -> Step:
        """A step that waits for nothing but known ones."""
        after = tuple(source for source in self._graph.sources(step.id) if source in known)
        return replace(step, inputs={}, after=after)

    def run(self) -> None:
        """Until nothing runs and nothing can start."""
        self._look()
        clocks = self._sharing.clocks
        while self._running:
            clock, end = clocks[0], self._next(clocks[0])
            for other in clocks[1:]:
                if (second := self._next(other)) < end:
                    clock, end = other, second
            if self._deaths and self._deaths[-1][0] < end:
                at, board = self._deaths.pop()
                self.now = max(self.now, at)
                self._die(board)
            else:
                self.now = max(self.now, end)
                self._finish(self._end(heapq.heappop(clock.ends)[2]))
            self._look()

    def _next(self, clock: Clock) -> float:
        """When the next step on a clock ends, in seconds of the simulation."""
        ends = clock.ends
        while ends:
            end, turn, *_, running = ends[0]
            if running.turn == turn:
                return clock.second(end)
            heapq.heappop(ends)
        return _FAR

    def _end(self, step_id: str) -> _Running:
        self._uneven.discard(step_id)
        running = self._running.pop(step_id)
        running.turn = -1
        return running

    def result(self, bound_s: float, bound_by: str) -> Simulation:
        """The result; what did not finish has failed."""
        done = frozenset(step.id for step in self._core.steps.in_state(StepState.DONE))
        failed = frozenset(self._graph.steps) - done
        spans, waited = tuple(self._spans), dict(self._waited)
        return Simulation(self.now, bound_s, bound_by, spans, done, failed, waited)

    # -- the core ------------------------------------------------------------------------------

    def _look(self) -> None:
        while self._handle(_LOOK):
            pass

    def _handle(self, event: m.Event) -> bool:
        """Tell the core and do what it wants; returns whether it is to look again at once."""
        again = False
        for instruction in self._core.handle(event, self.now):
            match instruction:
                case m.Start(step):
                    self._waited[pool_name(step.pool)] += instruction.waited_s
                    left = self._begun.get(step.id, 1.0)
                    clock = self._sharing.clocks[0]
                    self._running[step.id] = running = _Running(step, left, clock, self.now)
                    self._join(running, step.board)
                case m.Help(step, board):
                    running = self._running[step.id]
                    if running.left * step.units < LEAST_HELP:
                        self._handle(m.HelpEnded(step, board))
                        again = True
                    else:
                        self._join(running, board)
                case m.MoveSteps(moved):
                    for step_id, name in moved.items():
                        self._graph.steps[step_id].board = name
                    again |= self._handle(m.StepsMoved(moved))
        return again

    # -- the clock -----------------------------------------------------------------------------

    def _join(self, running: _Running, board: str) -> None:
        seconds = max(1e-9, self._seconds(running.step, board))
        if self._jitter:
            seconds *= self._chance.uniform(1 - self._jitter, 1 + self._jitter)
        loss = 0.0
        if running.paces:
            running.advance(self.now)
            loss = SHARING_LOSS
        running.paces[board] = (1 - loss) / seconds
        running.joined[board] = self.now
        self._share(running, board, 1)
        self._announce(running)

    def _share(self, running: _Running, board: str, sign: int) -> None:
        """A step begins or ends to use processors that others may share."""
        if len(self._sharing.clocks) == 1:  # nothing is shared
            return
        if not self._sharing.change(running.step, board, sign, self.now):
            return
        for step_id in self._uneven - {running.step.id}:
            other = self._running[step_id]
            other.advance(self.now)
            self._announce(other)

    def _announce(self, running: _Running) -> None:
        clock = self._sharing.clock(running.paces)
        if clock is None:
            slowed = (pace / self._sharing.slowdown(name) for name, pace in running.paces.items())
            clock, running.pace = self._sharing.clocks[0], sum(slowed)
            self._uneven.add(running.step.id)
        else:
            running.pace = sum(running.paces.values())
            self._uneven.discard(running.step.id)
        running.turn += 1
        running.clock, running.since = clock, clock.at(self.now)
        end = running.since + max(0.0, running.left) / running.pace
        entry = (end, running.turn, running.step.id, id(running), running)
        heapq.heappush(clock.ends, entry)

    def _leave(self, running: _Running, board: str, *, done: bool) -> None:
        del running.paces[board]
        start = running.joined.pop(board)
        self._share(running, board, -1)
        self._spans.append(Span(running.step.id, board, start, self.now, done))

    def _finish(self, running: _Running) -> None:
        step = running.step
        for board in list(running.paces):
            self._leave(running, board, done=True)
            if board != step.board:
                self._handle(m.HelpEnded(step, board))
        self._handle(m.Finished(step))

    def _die(self, board: str) -> None:
        """A board is lost for good; helpers end what it led."""
        failure = m.Failure(m.FailureKind.BOARD, BoardError(f"{board} is lost"))
        running = next((each for each in self._running.values() if board in each.paces), None)
        if running is None:
            self._handle(m.Unfit(board, failure.error))
            return
        step = running.step
        running.advance(self.now)
        self._leave(running, board, done=False)
        if board == step.board:
            self._handle(m.Unfit(board, failure.error))
        else:
            self._handle(m.HelpEnded(step, board, failure))
        if running.paces:
            self._announce(running)
        else:
            self._end(step.id)
            self._handle(m.Failed(step, failure))


def simulate(
    graph: Graph,
    domains: Mapping[str, str],
    seconds: Callable[[Step, str], float],
    *,
    head_slots: int,
    deaths: Mapping[str, float] | None = None,
    jitter: float = 0.0,
    seed: int = 0,
    processors: Mapping[str, int] | None = None,
    begun: Mapping[str, float] | None = None,
) -> Simulation:
    """Run a graph on a virtual clock.

    Args:
        graph: steps with their pools.
        domains: board to contention domain.
        seconds: a step on a board (empty: the head) to what it takes.
        head_slots: steps on the head at a time.
        deaths: board to the virtual second at which it is lost for good.
        jitter: each duration is changed by up to this share, at random.
        seed: of that.
        processors: of each contention domain whose steps slow each other down.
        begun: a run in its middle: the steps under way, and how much of each is left (1 to 0).
            Boards are then those that the steps name, and deploys are steps as any other.
    """
    cores = processors or {}
    dead = deaths or {}
    collects = gc.isenabled()
    gc.disable()  # what is created lives until the end: to look for garbage would be a fifth of it
    try:
        lean = without_deploys(graph)
        simulator = _Simulator(
            graph, lean, domains, seconds, head_slots, dead, jitter, seed, cores, begun
        )
        simulator.run()
        return simulator.result(*lower_bound(lean, seconds, head_slots, domains, cores))
    finally:
        if collects:
            gc.enable()
