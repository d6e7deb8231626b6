"""The scheduler's promises, on a virtual clock with the functions that a run decides by."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.planning.graph import HEAD_DOMAIN, Graph, Step
from orchestrator.planning.resolving import Resolution
from orchestrator.scheduling.core import messages as m
from orchestrator.scheduling.core.choosing import Candidate
from orchestrator.scheduling.core.ready import Ready
from orchestrator.scheduling.core.scheduler import Scheduler
from orchestrator.scheduling.simulator import Simulation, simulate

SECONDS = {
    "images": 2.0,
    "quantize": 4.0,
    "convert": 1.5,
    "deploy": 0.0,
    "measure": 5.0,
    "extract": 30.0,
    "score": 3.0,
}


def graph_of(pools: Iterable[tuple[str, ...]], units: int = 1000) -> Graph:
    """A cell for each pool, as a plan has them."""
    steps: dict[str, Step] = {"images/gallery": Step("images/gallery", "images")}

    def add(step: Step) -> str:
        steps[step.id] = step
        return step.id

    for number, pool in enumerate(pools):
        name = f"cell{number}"
        quantize = add(Step(f"quantize/{name}", "quantize", {"i": "images/gallery"}))
        convert = add(Step(f"convert/{name}", "convert", {"q": quantize}))
        on = {"pool": pool, "board": pool[0]}
        deploy = add(Step(f"deploy/{name}", "deploy", {"a": convert}, **on))
        inputs = {"a": convert, "images": "images/gallery"}
        add(Step(f"measure/{name}", "measure", inputs, (deploy,), **on))
        extract = [
            add(Step(f"extract/{name}/{role}", "extract", inputs, (deploy,), units=units, **on))
            for role in ("gallery", "probe")
        ]
        add(Step(f"score/{name}", "score", dict(zip("gp", extract, strict=True))))
    return Graph(steps, {})


def run(graph: Graph, boards: Iterable[str], **more: object) -> Simulation:
    domains = {name: name for name in boards}
    return simulate(graph, domains, lambda s, _: SECONDS[s.stage], head_slots=2, **more)  # type: ignore[arg-type]


NAMES = [f"b{i}" for i in range(6)]
POOLS = st.lists(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True).map(tuple),
    min_size=1,
    max_size=12,
)
DEATHS = st.dictionaries(st.sampled_from(NAMES), st.floats(0, 200), max_size=4)


@settings(max_examples=15, deadline=None)
@given(POOLS, DEATHS, st.integers(0, 9), st.sampled_from([10, 1000]))
def test_no_board_does_two_things_no_step_runs_twice_and_every_run_ends(
    pools: list[tuple[str, ...]], deaths: dict[str, float], seed: int, units: int
) -> None:
    graph = graph_of(pools, units)
    done = run(graph, NAMES, deaths=deaths, jitter=0.5, seed=seed)
    everything = {s for s, step in graph.steps.items() if step.stage != "deploy"}
    assert done.finished | done.failed == everything
    assert not done.finished & done.failed
    by_board: dict[str, list[tuple[float, float]]] = {}
    by_step: dict[str, list[tuple[float, float]]] = {}
    for span in done.spans:
        step = graph.steps[span.step]
        assert span.board in (step.pool or ("",))
        if span.board:
            by_board.setdefault(span.board, []).append((span.start, span.stop))
        if span.board and step.stage != "extract":
            by_step.setdefault(span.step, []).append((span.start, span.stop))
        assert span.board not in deaths or span.stop <= deaths[span.board] + 1e-6
    for spans in (*by_board.values(), *by_step.values()):
        for one, other in itertools.pairwise(sorted(spans)):
            assert one[1] <= other[0] + 1e-9
    # Whatever has a living board is finished.
    for number, pool in enumerate(pools):
        if not set(pool) <= set(deaths):
            assert f"score/cell{number}" in done.finished


@settings(max_examples=15, deadline=None)
@given(POOLS, DEATHS, st.randoms(use_true_random=True))
def test_the_order_of_the_inventory_does_not_change_what_finishes(
    pools: list[tuple[str, ...]], deaths: dict[str, float], chance: object
) -> None:
    late = {name: at + 10_000 for name, at in deaths.items()}  # those that are never there
    gone = dict.fromkeys(deaths, 0.0)
    turned = [tuple(reversed(pool)) for pool in pools]
    for dead in (gone, late, {}):
        one, other = (run(graph_of(each), NAMES, deaths=dead) for each in (pools, turned))
        assert one.finished == other.finished


def test_forty_cells_over_eight_boards_are_near_the_shortest_possible() -> None:
    boards = tuple(f"b{i}" for i in range(8))
    done = run(graph_of([boards] * 40), boards)
    assert done.makespan_s <= 1.10 * done.bound_s, (done.makespan_s, done.bound_s, done.bound_by)


def test_steps_that_share_processors_slow_each_other_down() -> None:
    """Four boards that are emulated on two processors take twice as long as four real ones."""
    names = tuple("abcd")
    graph = Graph(
        {f"extract/{n}": Step(f"extract/{n}", "extract", pool=(n,), board=n) for n in names}, {}
    )
    emulated = dict.fromkeys(names, HEAD_DOMAIN)

    def end(domains: dict[str, str], **more: object) -> Simulation:
        seconds = lambda step, _: SECONDS[step.stage]  # noqa: E731
        return simulate(graph, domains, seconds, head_slots=2, **more)  # type: ignore[arg-type]

    apart = end({name: name for name in names}, processors={HEAD_DOMAIN: 2})
    here = end(emulated, processors={HEAD_DOMAIN: 2})
    assert apart.makespan_s == 30.0
    assert here.makespan_s == 60.0
    assert (here.bound_s, here.bound_by) == (60.0, f"the processors of {HEAD_DOMAIN}")
    half = end(emulated, processors={HEAD_DOMAIN: 2}, begun={f"extract/{n}": 0.5 for n in names})
    assert half.makespan_s == 30.0


def test_a_run_in_its_middle_goes_on_with_what_is_under_way() -> None:
    """The extraction under way holds the domain, though a measurement would come first."""
    on = {"pool": ("a",), "board": "a"}
    steps = {
        "extract/a": Step("extract/a", "extract", units=10, **on),
        "measure/b": Step("measure/b", "measure", pool=("b",), board="b"),
        "score/a": Step("score/a", "score", {"g": "extract/a"}),
    }
    here = {"a": HEAD_DOMAIN, "b": HEAD_DOMAIN}
    done = simulate(
        Graph(steps, {}),
        here,
        lambda step, _: SECONDS[step.stage],
        head_slots=2,
        begun={"extract/a": 0.2},
    )
    spans = {span.step: (span.start, span.stop) for span in done.spans}
    assert spans == {"extract/a": (0, 6), "measure/b": (6, 11), "score/a": (11, 14)}


def test_rows_of_emulated_boards_end_one_after_the_other() -> None:
    """Six of them on two processors: were all to extract at a time, no row would end before all."""
    names = tuple("abcdef")
    graph = graph_of([(name,) for name in names])
    here = dict.fromkeys(names, HEAD_DOMAIN)
    done = simulate(
        graph,
        here,
        lambda step, _: 0.1 if step.stage != "extract" else 30.0,
        head_slots=2,
        processors={HEAD_DOMAIN: 2},
    )
    ends = sorted(span.stop for span in done.spans if span.step.startswith("score"))
    assert done.makespan_s <= 1.05 * done.bound_s  # nothing is lost by it
    assert ends[0] < 0.4 * done.makespan_s
    assert ends[3] < 0.75 * done.makespan_s
    extracting = [s for s in done.spans if s.step.startswith("extract")]
    for span in extracting:
        assert sum(o.start <= span.start < o.stop for o in extracting) <= 2


def test_the_last_extractions_share_the_processors() -> None:
    """Three of 20 s on two processors take 30 s together, in turn they would take 40."""
    names = tuple("abc")
    steps = {n: Step(n, "extract", pool=(n,), board=n) for n in names}
    done = simulate(
        Graph(steps, {}),
        dict.fromkeys(names, HEAD_DOMAIN),
        lambda *_: 20.0,
        head_slots=2,
        processors={HEAD_DOMAIN: 2},
    )
    assert done.makespan_s == 30.0


def test_scoring_begins_as_soon_as_its_features_are_there() -> None:
    """On boards of their own: the row of a fast board is scored while a slow one extracts."""
    graph = graph_of([("fast",), ("slow",)])
    seconds = {"fast": 5.0, "slow": 100.0, "": 1.0}
    done = simulate(
        graph, {"fast": "fast", "slow": "slow"}, lambda _, board: seconds[board], head_slots=2
    )
    spans = {span.step: span for span in done.spans}
    features = max(spans[f"extract/cell0/{role}"].stop for role in ("gallery", "probe"))
    assert spans["score/cell0"].start == features
    assert spans["score/cell0"].stop < spans["extract/cell1/gallery"].start + 100.0


def test_one_extraction_is_shared_out() -> None:
    one = run(graph_of([("a",)], 50_000), "a")
    four = run(graph_of([tuple("abcd")], 50_000), "abcd")
    apart = 2 + 4 + 1.5 + 5 + 3
    assert (one.makespan_s - apart) / (four.makespan_s - apart) > 3.6


def test_a_dead_board_costs_the_others_nothing() -> None:
    names = [f"b{i}" for i in range(8)]
    cells = [(name,) for name in names for _ in range(3)]
    without = run(graph_of([c for c in cells if c != ("b3",)]), names)
    with_it = run(graph_of(cells), names, deaths={"b3": 20.0})
    assert with_it.makespan_s <= 1.05 * without.makespan_s


@pytest.mark.parametrize("slow", [30.0, 6.0])
def test_a_step_that_begins_again_on_another_board_takes_what_it_takes_there(slow: float) -> None:
    """Not until the end that was announced on the board that died, at 10 s."""
    seconds = {"a": 10.0, "b": slow}
    step = Step("extract/x", "extract", units=100, pool=("a", "b"), board="a")
    done = simulate(
        Graph({step.id: step}, {}),
        {"a": "a", "b": "b"},
        lambda _, board: seconds[board],
        head_slots=2,
        deaths={"a": 4.0},
    )
    spans = [(span.board, span.start, span.stop, span.done) for span in done.spans]
    assert spans == [("a", 0.0, 4.0, False), ("b", 4.0, 4.0 + slow, True)]


def test_a_higher_priority_comes_first() -> None:
    graph = graph_of([("a",)] * 4, 10)
    for step in graph.steps.values():
        step.priority = 5 if "cell3" in step.id else 0
    done = run(graph, "a")
    first = {s.step: s.start for s in done.spans if s.step.startswith("measure")}
    # Its artifact is ready in the same moment as one that took the head's other slot.
    assert first["measure/cell3"] < min(first["measure/cell1"], first["measure/cell2"])


def everything(
    ready: Ready,
    allowed: Callable[[Candidate], bool],
    busy: object,
    connected: Callable[[str], bool],
    slots: int,
    room: int,
) -> list[Candidate]:
    """All that is ready, in the plan's order: `front` and the rest."""
    found = sorted(ready.since, key=ready.position.__getitem__)
    ready_steps = [ready._entries[step_id][-1] for step_id in found]
    return [s for s in ready_steps if allowed(s) and (not s.board or connected(s.board))]


@settings(max_examples=15, deadline=None)
@given(
    POOLS,
    DEATHS,
    st.lists(st.integers(0, 2), min_size=12, max_size=12),
    st.lists(st.sampled_from(["x", "y", "", HEAD_DOMAIN]), min_size=6, max_size=6),
    st.integers(0, 9),
)
def test_priorities_and_shared_domains_keep_the_promises_and_only_who_is_in_front_is_looked_at(
    pools: list[tuple[str, ...]],
    deaths: dict[str, float],
    priorities: list[int],
    places: list[str],
    seed: int,
) -> None:
    domains = {name: place or name for name, place in zip(NAMES, places, strict=True)}

    def done() -> tuple[Graph, Simulation]:
        graph = graph_of(pools, 200)
        for step in graph.steps.values():
            number = step.id.split("/")[1].removeprefix("cell")
            step.priority = priorities[int(number)] if number.isdecimal() else 0
        return graph, simulate(
            graph,
            domains,
            lambda s, _: SECONDS[s.stage],
            head_slots=2,
            deaths=deaths,
            jitter=0.3,
            seed=seed,
        )

    graph, one = done()
    with mock.patch.object(Ready, "front", everything):
        assert done()[1] == one
    steps = {s for s, step in graph.steps.items() if step.stage != "deploy"}
    assert one.finished | one.failed == steps
    by_board: dict[str, list[tuple[float, float]]] = {}
    for span in one.spans:
        if span.board:
            by_board.setdefault(span.board, []).append((span.start, span.stop))
    for spans in by_board.values():
        for first, second in itertools.pairwise(sorted(spans)):
            assert first[1] <= second[0] + 1e-9
    place = {**domains, "": HEAD_DOMAIN}
    for span in one.spans:
        if graph.steps[span.step].stage == "measure":
            for other in one.spans:
                together = other.start < span.stop - 1e-9 and span.start < other.stop - 1e-9
                assert other is span or place[other.board] != place[span.board] or not together
    for number, pool in enumerate(pools):
        if not set(pool) <= set(deaths):
            assert f"score/cell{number}" in one.finished


@pytest.mark.slow
def test_thousands_of_boards_are_simulated() -> None:
    boards = tuple(f"b{i}" for i in range(1000))
    done = run(graph_of([boards[i : i + 10] for i in range(0, 1000, 10)]), boards)
    assert not done.failed
    alone = run(graph_of([(name,) for name in boards]), boards)
    assert not alone.failed


def test_a_step_whose_own_board_is_free_stays_there() -> None:
    """Another board would need another deploy, which may build an engine for minutes."""
    graph = graph_of([("a", "b")], 10)
    steps = {s: step for s, step in graph.steps.items() if not s.startswith(("extract", "score"))}
    steps = {s: replace(step, after=()) for s, step in steps.items() if step.stage != "deploy"}
    core = Scheduler(Deadlines(), slots=2)
    plan = m.PlanView(
        Graph(steps, {}),
        Resolution(keys={s: s for s in steps}, todo=list(steps)),
        {name: m.BoardProfile(name) for name in "ab"},
    )
    core.handle(m.PlanChanged(plan), 0.0)
    core.handle(m.ConnectedFromStart(("a", "b")), 0.0)
    for step_id in ("images/gallery", "quantize/cell0", "convert/cell0"):
        assert [each.step.id for each in core.handle(m.Look(), 0.0)] == [step_id]  # type: ignore[union-attr]
        core.handle(m.Finished(steps[step_id]), 0.0)
    assert core.handle(m.Look(), 0.0) == [m.Start(steps["measure/cell0"], "measure/cell0", 1)]
