"""The scheduler on a virtual clock: how long a matrix takes with which boards, and what waits.

Pure and seeded. It makes its decisions with the very functions that a run uses (`choose`,
`rebound`, `wanted_helpers`); what it leaves out are connecting, transfers of images and Ray.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.planning.estimate import leads, ranks
from orchestrator.planning.graph import Graph, Step
from orchestrator.scheduling.core.choosing import HEAD_DOMAIN, YIELDING, Candidate, choose, order
from orchestrator.scheduling.core.pools import rebound, wanted_helpers

SHARING_LOSS = 0.02
"""Of a helper's pace, what canary and ends of pieces cost."""


@dataclass(frozen=True)
class Span:
    """A board (empty: the head) worked on a step from `start` to `stop`, virtual seconds."""

    step: str
    board: str
    start: float
    stop: float
    done: bool = True


@dataclass(frozen=True)
class Simulation:
    """What came of it.

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


@dataclass
class _Running:
    step: Step
    left: float  # of the whole, 1 to 0
    since: float
    paces: dict[str, float] = field(default_factory=dict)  # board to share of the whole a second
    joined: dict[str, float] = field(default_factory=dict)
    turn: int = 0  # which of the announced ends is still meant

    @property
    def pace(self) -> float:
        return sum(self.paces.values())

    def advance(self, now: float) -> None:
        self.left -= (now - self.since) * self.pace
        self.since = now


class _Lines:
    """The ready steps as they stand in line, so that a look need not go through all of them.

    `choose` starts at most one step a board, and as many on the head as it has slots: what stands
    behind these cannot be chosen and need not be looked at. Where several boards are one contention
    domain, or several can do a step, all count.
    """

    def __init__(
        self,
        steps: Mapping[str, Step],
        domains: Mapping[str, str],
        candidate: Callable[[Step], Candidate],
    ) -> None:
        self._steps, self._candidate = steps, candidate
        sizes = Counter([*domains.values(), HEAD_DOMAIN])
        self._shared = {name for name, domain in domains.items() if sizes[domain] > 1}
        self._number = 0
        self._numbers: dict[str, int] = {}
        self._head: tuple[list[Any], list[Any]] = ([], [])  # those that yield to measuring, others
        self._alone: dict[str, dict[str, None]] = {}
        self._open: set[str] = set()
        self.pooled: dict[str, None] = {}

    def join(self, step: Step) -> None:
        """A step has become ready."""
        self._number += 1
        self._numbers[step.id] = self._number
        if not step.board:
            line = self._head[0 if step.stage in YIELDING else 1]
            heapq.heappush(line, (order(self._candidate(step)), self._number, step.id))
        elif len(step.pool) > 1:
            self.pooled[step.id] = None
        else:
            self._alone.setdefault(step.board, {})[step.id] = None
            self._open.add(step.board)

    def leave(self, step: Step) -> None:
        """It has begun, or never will."""
        del self._numbers[step.id]
        self.pooled.pop(step.id, None)
        line = self._alone.get(step.board, {})
        line.pop(step.id, None)
        if not line and step.board in self._alone:
            del self._alone[step.board]
            self._open.discard(step.board)

    def wanted(self) -> set[str]:
        """Boards that a ready step waits for."""
        return {*self._alone, *(self._steps[step_id].board for step_id in self.pooled)}

    def of(self, board: str) -> list[str]:
        """Ready steps that only this board can do."""
        return list(self._alone.get(board, ()))

    def free(self, board: str) -> None:
        """A board has ended what it did."""
        if board in self._alone:
            self._open.add(board)

    def front(self, busy: Collection[str], slots: int) -> list[Candidate]:
        """The candidates that may be chosen, in the order in which they became ready."""
        self._open -= {name for name in self._open if name in busy and name not in self._shared}
        found = [*self.pooled, *(s for name in self._open for s in self._alone[name])]
        for line in self._head:
            first: list[Any] = []
            while line and len(first) < slots:
                entry = heapq.heappop(line)
                if self._numbers.get(entry[2]) == entry[1]:
                    first.append(entry)
            found += [entry[2] for entry in first]
            for entry in first:
                heapq.heappush(line, entry)
        found.sort(key=self._numbers.__getitem__)
        return [self._candidate(self._steps[step_id]) for step_id in found]


class _Simulator:
    def __init__(
        self,
        graph: Graph,
        domains: Mapping[str, str],
        seconds: Callable[[Step, str], float],
        head_slots: int,
        deaths: Mapping[str, float],
        jitter: float,
        seed: int,
    ) -> None:
        self._steps, self._sources = _without_deploys(graph)
        self._domains, self._seconds, self._slots = domains, seconds, head_slots
        self._deaths = sorted((at, name) for name, at in deaths.items())
        self._chance, self._jitter = random.Random(seed), jitter
        self._ranks = ranks(graph, lambda step: seconds(step, step.board))
        self._leads = leads(graph, lambda step: seconds(step, step.board))
        self._state = dict.fromkeys(self._steps, "waiting")
        self._after: dict[str, list[str]] = {step_id: [] for step_id in self._steps}
        self._missing = {step_id: len(set(s)) for step_id, s in self._sources.items()}
        for step_id, sources in self._sources.items():
            for source in set(sources):
                self._after[source].append(step_id)
        self._ready: dict[str, float] = {}
        self._lines = _Lines(self._steps, domains, self._candidate)
        self._running: dict[str, _Running] = {}
        self._at: dict[str, str] = {}  # what a board works on
        self._dead: set[str] = set()
        self._ends: list[tuple[float, int, str]] = []
        self._spans: list[Span] = []
        self._waited: dict[str, float] = defaultdict(float)
        self.now = 0.0
        for step_id in [s for s, count in self._missing.items() if count == 0]:
            self._is_ready(step_id)
        turns: Counter[tuple[str, ...]] = Counter()
        encoders: dict[str, str] = {}
        for step in self._steps.values():
            if len(step.pool) > 1:
                encoder = _encoder(step)
                if encoder not in encoders:
                    encoders[encoder] = step.pool[turns[step.pool] % len(step.pool)]
                    turns[step.pool] += 1
                step.board = encoders[encoder]

    def run(self) -> None:
        while True:
            self._start()
            if not self._running and not self._deaths:
                break
            if not self._running and not self._ready:
                break
            death = self._deaths[0][0] if self._deaths else float("inf")
            while self._ends and not self._meant(self._ends[0]):
                heapq.heappop(self._ends)
            end = self._ends[0][0] if self._ends else float("inf")
            if min(end, death) == float("inf"):
                break
            if death < end:
                self.now = max(self.now, death)
                self._die(self._deaths.pop(0)[1])
            else:
                self.now = end
                self._finish(heapq.heappop(self._ends)[2])
        for step_id in [s for s, state in self._state.items() if state == "waiting"]:
            self._state[step_id] = "failed"

    def result(self, graph: Graph) -> Simulation:
        bound, by = lower_bound(graph, self._seconds, self._slots)
        return Simulation(
            self.now,
            bound,
            by,
            tuple(self._spans),
            frozenset(s for s, state in self._state.items() if state == "done"),
            frozenset(s for s, state in self._state.items() if state == "failed"),
            dict(self._waited),
        )

    def _is_ready(self, step_id: str) -> None:
        self._ready[step_id] = self.now
        self._lines.join(self._steps[step_id])

    def _meant(self, end: tuple[float, int, str]) -> bool:
        running = self._running.get(end[2])
        return running is not None and running.turn == end[1]

    def _usable(self, _: Step, board: str) -> bool:
        return board not in self._dead

    def _start(self) -> None:
        waiting = [self._steps[s] for s in self._lines.pooled]
        if waiting:
            own = self._lines.wanted()

            def idle(name: str) -> bool:
                return name not in self._at and name not in own and name not in self._dead

            moved = rebound(waiting, startable=lambda _: True, usable=self._usable, idle=idle)
            for step_id, name in moved.items():
                self._steps[step_id].board = name
        for step in [s for s in waiting if s.board in self._dead]:
            self._fail(step.id)
        for name in self._dead:
            for step_id in self._lines.of(name):
                self._fail(step_id)
        ready = self._lines.front(self._at, self._slots)
        under_way = [self._candidate(r.step, n) for r in self._running.values() for n in r.paces]
        helpers = self._helpers()
        chosen = choose([*ready, *helpers], under_way, self._slots)
        for each in chosen:
            step_id, _, helper = each.id.partition("@")
            if helper:
                self._join(self._running[step_id], helper)
            else:
                step = self._steps[step_id]
                self._waited[self._pool(step)] += self.now - self._ready.pop(step_id)
                self._lines.leave(step)
                running = self._running[step_id] = _Running(step, 1.0, self.now)
                self._state[step_id] = "running"
                self._join(running, step.board)

    def _helpers(self) -> list[Candidate]:
        found: list[Candidate] = []
        led = [r for r in self._running.values() if len(r.step.pool) > 1]
        taken = self._lines.wanted() if led else set()
        for running in led:
            step = running.step
            if running.left * step.units < 64:
                continue
            for name in wanted_helpers(step, self._usable):
                if name not in self._at and name not in taken:
                    taken.add(name)
                    domain = self._domains[name]
                    found.append(Candidate(f"{step.id}@{name}", "extract", name, domain, 0))
        return found

    def _candidate(self, step: Step, board: str | None = None) -> Candidate:
        name = step.board if board is None else board
        domain = self._domains[name] if name else HEAD_DOMAIN
        lead, rank = self._leads.get(step.id, 0.0), self._ranks.get(step.id, 0.0)
        return Candidate(step.id, step.stage, name, domain, step.units, step.priority, lead, rank)

    def _join(self, running: _Running, board: str) -> None:
        running.advance(self.now)
        seconds = max(1e-9, self._seconds(running.step, board))
        if self._jitter:
            seconds *= self._chance.uniform(1 - self._jitter, 1 + self._jitter)
        loss = SHARING_LOSS if running.paces else 0.0
        running.paces[board] = (1 - loss) / seconds
        running.joined[board] = self.now
        if board:
            self._at[board] = running.step.id
        self._announce(running)

    def _announce(self, running: _Running) -> None:
        running.turn += 1
        end = self.now + max(0.0, running.left) / running.pace
        heapq.heappush(self._ends, (end, running.turn, running.step.id))

    def _leave(self, running: _Running, board: str, *, done: bool) -> None:
        del running.paces[board]
        self._at.pop(board, None)
        self._lines.free(board)
        start = running.joined.pop(board)
        self._spans.append(Span(running.step.id, board, start, self.now, done))

    def _finish(self, step_id: str) -> None:
        running = self._running.pop(step_id)
        for board in list(running.paces):
            self._leave(running, board, done=True)
        self._state[step_id] = "done"
        for after in self._after[step_id]:
            self._missing[after] -= 1
            if self._missing[after] == 0 and self._state[after] == "waiting":
                self._is_ready(after)

    def _die(self, board: str) -> None:
        self._dead.add(board)
        step_id = self._at.get(board)
        if step_id is None:
            return
        running = self._running[step_id]
        running.advance(self.now)
        self._leave(running, board, done=False)
        if running.paces:
            running.step.board = next(iter(running.paces))
            self._announce(running)
        else:
            del self._running[step_id]
            self._state[step_id] = "waiting"
            self._is_ready(step_id)

    def _fail(self, step_id: str) -> None:
        pending = [step_id]
        while pending:
            current = pending.pop()
            if self._state[current] == "waiting":
                self._state[current] = "failed"
                if self._ready.pop(current, None) is not None:
                    self._lines.leave(self._steps[current])
                pending += self._after[current]

    def _pool(self, step: Step) -> str:
        return pool_name(step.pool)


def pool_name(pool: tuple[str, ...]) -> str:
    """A pool in a word: its boards, shortened."""
    if len(pool) < 2:
        return "".join(pool)
    return f"{pool[0]} and {len(pool) - 1} more"


def _encoder(step: Step) -> str:
    return step.id.split("/")[1]


def _without_deploys(graph: Graph) -> tuple[dict[str, Step], dict[str, list[str]]]:
    """Steps as copies, and their sources; what waits for a deploy waits for its inputs instead."""
    sources: dict[str, list[str]] = {}
    for step_id in graph.steps:
        found: list[str] = []
        for source in graph.sources(step_id):
            deploy = graph.steps[source].stage == "deploy"
            found += graph.sources(source) if deploy else [source]
        sources[step_id] = found
    steps = {s.id: replace(s) for s in graph.steps.values() if s.stage != "deploy"}
    return steps, {step_id: sources[step_id] for step_id in steps}


def lower_bound(
    graph: Graph, seconds: Callable[[Step, str], float], head_slots: int
) -> tuple[float, str]:
    """The shortest that any schedule can be, and what makes it so."""

    def least(step: Step) -> float:
        if not step.pool:
            return seconds(step, "")
        paces = [1 / max(1e-9, seconds(step, name)) for name in step.pool]
        return 1 / (sum(paces) if wanted_helpers(step, lambda *_: True) else max(paces))

    steps, _ = _without_deploys(graph)
    path = max(ranks(graph, lambda s: least(s) if s.id in steps else 0.0).values(), default=0.0)
    work: dict[tuple[str, ...], float] = defaultdict(float)
    for step in steps.values():
        names = step.pool or ("",)
        work[step.pool] += min(seconds(step, name) for name in names)
    loads = [
        (total / (len(pool) or head_slots), f"the work of {pool_name(pool) or 'this head'}")
        for pool, total in work.items()
    ]
    return max([(path, "the critical path"), *loads])


def simulate(
    graph: Graph,
    domains: Mapping[str, str],
    seconds: Callable[[Step, str], float],
    *,
    head_slots: int,
    deaths: Mapping[str, float] | None = None,
    jitter: float = 0.0,
    seed: int = 0,
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
    """
    simulator = _Simulator(graph, domains, seconds, head_slots, deaths or {}, jitter, seed)
    simulator.run()
    return simulator.result(graph)
