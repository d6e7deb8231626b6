"""How long what is left takes: the simulator's schedule over fitted costs, from where a run is.

One estimate for `farm plan`, `farm plan --simulate`, and a run that goes on.
"""

from __future__ import annotations

import math
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.events import Event, StepInfo
from orchestrator.planning.graph import HEAD_DOMAIN, Graph, Step, in_order
from orchestrator.planning.paces import Observation, Paces
from orchestrator.planning.stage_facts import PREPARATION, STAGE_FACTS, UNKNOWN
from orchestrator.planning.work import Work
from orchestrator.preflight.planner import Plan
from orchestrator.scheduling.observing import BEGIN, RAY, Observer
from orchestrator.scheduling.simulator import Simulation, simulate

RAY_PLACE = " ray"
"""Stands for Ray's start among the boards of a simulation."""
OVERRUN = 0.25
"""Of what a step without progress has taken, what is left once it has taken as long as expected."""


@dataclass(frozen=True)
class Expected:
    """Seconds until the end.

    Attributes:
        low, seconds, high: the middle one is as likely too long as too short; two of three runs
            end between the others.
        seen, guessed: steps left whose stage and place earlier steps timed, and others.
        simulation: the schedule behind it.
    """

    low: float
    seconds: float
    high: float
    seen: int
    guessed: int
    simulation: Simulation

    @property
    def source(self) -> str:
        """What it rests on, in words."""
        if not self.seen:
            return "guessed: nothing like it was run here before"
        guessed = f"; {self.guessed} guessed" if self.guessed else ""
        return f"from what such steps took before{guessed}"


def expected_end(
    infos: Iterable[StepInfo],
    earlier: Iterable[Observation],
    processors: int,
    domains: Mapping[str, str],
) -> Expected | None:
    """How long a run of a plan takes from its start; None when nothing is to do.

    Args:
        infos: steps of the plan; those that are cached take no time.
        earlier: what was observed in earlier runs, the oldest first.
        processors: of the head.
        domains: board to contention domain.
    """
    observer = Observer(processors, domains)
    observer.plan(tuple(infos))
    return _expected(observer, Paces(earlier), processors, 0.0)


def expected_of(plan: Plan) -> Expected | None:
    """How long a run of this plan takes on this host; None when nothing is to do."""
    cores = os.cpu_count() or 1
    return expected_end(plan.step_infos(), plan.observations(), cores, plan.domains())


class Forecaster:
    """Follows a run's events; says at any time how long it still takes.

    Args:
        earlier: what was observed in earlier runs, the oldest first.
        processors: of the head.
        domains: contention domains of boards that no step names.
    """

    def __init__(
        self,
        earlier: Sequence[Observation],
        processors: int,
        domains: Mapping[str, str] | None = None,
    ) -> None:
        self._earlier, self._processors = earlier, processors
        self._observer = Observer(processors, domains)
        self._paces: Paces | None = None

    def take(self, event: Event) -> list[Observation]:
        """Take an event in; returns what it teaches."""
        seen = self._observer.take(event)
        if seen:
            self._paces = None  # fitted anew when somebody asks, not with each step
        return seen

    def expected(self, now: float) -> Expected | None:
        """Time left at `now` (Unix seconds); None when nothing is."""
        if self._paces is None:
            self._paces = Paces(self._earlier, self._observer.observations)
        return _expected(self._observer, self._paces, self._processors, now)


def _expected(observer: Observer, paces: Paces, processors: int, now: float) -> Expected | None:
    left = {
        name: info
        for name, info in observer.steps.items()
        if observer.state.get(name) not in ("done", "failed", "skipped")
    }
    if not left:
        return None
    works = {name: _work(info) for name, info in left.items()}
    graph, extra = _graph(observer, left)
    works |= extra

    known: dict[tuple[str, str], float] = {}

    def seconds(step: Step, board: str) -> float:
        found = known.get((step.id, board))
        if found is None:
            work, info = works[step.id], left.get(step.id)
            if board and board != work.board and info is not None:
                work = replace(work, board=board)
            line = paces.line(work)
            found = line.seconds(step.units, info.least if info is not None else 0.0)
            known[step.id, board] = found
        return found

    begun = {
        step.id: _left(observer, step, seconds(step, step.board), now)
        for step in graph.steps.values()
        if _runs(observer, step)
    }
    simulation = simulate(
        graph,
        _domains(observer, graph),
        seconds,
        head_slots=processors,
        processors={HEAD_DOMAIN: processors},
        begun=begun,
    )
    total = simulation.makespan_s
    if not observer.begun:
        spent = max(0.0, now - observer.started)
        total += _rest(paces.line(BEGIN).seconds(1), spent)
    spread = _spread(
        (seconds(step, step.board), paces.line(works[step.id]).spread)
        for step in graph.steps.values()
    )
    seen = sum(paces.seen(works[name]) for name in left)
    low, high = total / math.exp(spread), total * math.exp(spread)
    return Expected(low, total, high, seen, len(left) - seen, simulation)


def _work(info: StepInfo) -> Work:
    return Work.from_text(info.work) if info.work else Work(info.stage, info.board or "head")


def _graph(observer: Observer, left: Mapping[str, StepInfo]) -> tuple[Graph, dict[str, Work]]:
    """What is left as steps; Ray's start and connecting boards are steps too.

    Returns:
        The graph, and the work of the steps that are not the plan's.
    """
    steps: dict[str, Step] = {}
    extra: dict[str, Work] = {}

    def add(name: str, work: Work, board: str, after: tuple[str, ...]) -> str:
        if name not in steps:
            steps[name] = Step(name, PREPARATION, {}, after, pool=(board,), board=board)
            extra[name] = work
        return name

    ray = () if observer.ray else (add("ray", RAY, RAY_PLACE, ()),)
    for name, info in left.items():
        first: tuple[str, ...] = ()
        if info.board and info.board not in observer.connected:
            work = observer.connecting(info.board) or Work("connect", info.board)
            first = (add(f"connect/{info.board}", work, info.board, ray),)
        elif not info.board and STAGE_FACTS.get(info.stage, UNKNOWN).needs_ray:
            first = ray
        pool = (info.pool or (info.board,)) if info.board else ()
        sources = tuple(source for source in info.sources if source in left)
        steps[name] = Step(
            name,
            info.stage,
            {},
            (*sources, *first),
            pool=pool,
            board=info.board,
            units=info.units,
            priority=info.priority,
            extra={"all_processors": info.all_processors},
        )
    return Graph(in_order(steps), {}), extra


def _domains(observer: Observer, graph: Graph) -> dict[str, str]:
    names = {name for step in graph.steps.values() for name in (step.board, *step.pool) if name}
    return {name: observer.domain(name) for name in names} | {RAY_PLACE: HEAD_DOMAIN}


def _shared_name(step: Step) -> Hashable:
    """Under which name what a step stands for shares its domain's processors."""
    if step.id == "ray":
        return RAY
    return step.board if step.id == f"connect/{step.board}" else step.id


def _runs(observer: Observer, step: Step) -> bool:
    name = _shared_name(step)
    if name != step.id:
        return name in observer.shared.running(_domain(observer, step))
    return observer.state.get(step.id) == "running"


def _domain(observer: Observer, step: Step) -> str:
    return HEAD_DOMAIN if step.board == RAY_PLACE else observer.domain(step.board)


def _left(observer: Observer, step: Step, expected: float, now: float) -> float:
    """How much of a running step is left, 1 being the whole of what is expected."""
    spent = observer.shared.alone(_shared_name(step), _domain(observer, step), now)
    share = observer.share(step.id) if not step.facts.measures_time else None
    if share:
        whole = spent + (1 - share) * expected  # the more is done, the more its own pace counts
        rest = (1 - share) * whole
    else:
        rest = _rest(expected, spent)
    return max(1e-6, rest / max(expected, 1e-9))


def _rest(expected: float, spent: float) -> float:
    """What is left of what does not say how far it is."""
    return max(expected - spent, OVERRUN * spent)


def _spread(parts: Iterable[tuple[float, float]]) -> float:
    """Of the whole: errors of steps of one kind go together, so they do not average out."""
    total = weighted = 0.0
    for seconds, spread in parts:
        total += seconds
        weighted += seconds * spread
    return weighted / total if total else 0.0
