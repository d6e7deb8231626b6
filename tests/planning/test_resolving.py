"""What changes in a resolution after some steps is what working out all of it again would find."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planning.graph import CellTargets, Graph, Step
from orchestrator.planning.resolving import Keys, Successors, resolve

STAGES = ("images", "quantize", "extract", "deploy", "score")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Steps some of which are alike: same stage, same parameters, same inputs."""
    steps: dict[str, Step] = {}
    for number in range(draw(st.integers(1, 12))):
        stage = draw(st.sampled_from(STAGES))
        stored = [name for name, step in steps.items() if step.facts.stored]
        inputs = draw(st.sets(st.sampled_from(stored), max_size=2)) if stored else set()
        after = draw(st.sets(st.sampled_from(sorted(steps)), max_size=1)) if steps else set()
        name = f"step{number}"
        params = {"n": draw(st.integers(0, 1))}
        roles = {f"role{i}": each for i, each in enumerate(sorted(inputs))}
        steps[name] = Step(name, stage, roles, tuple(after), params)
    ends = draw(st.sets(st.sampled_from(sorted(steps)), min_size=1))
    targets = {name: CellTargets(name, None, name, name, name, name) for name in sorted(ends)}
    return Graph(steps, targets)


@given(graphs(), st.lists(st.tuples(st.integers(0, 99), st.integers(0, 1)), max_size=20))
def test_after_some_steps_all_is_as_if_it_were_worked_out_again(
    graph: Graph, ends: list[tuple[int, int]]
) -> None:
    held: dict[tuple[str, str], str] = {}

    def lookup(stage: str, key: str) -> str | None:
        return held.get((stage, key))

    keys = Keys()
    now = resolve(graph, lookup, keys)
    successors = Successors(graph, keys, now)
    ended: list[str] = []
    for choice, content in ends:
        ready = [name for name in graph.steps if name in now.keys]
        if not ready:
            break
        step = graph.steps[ready[choice % len(ready)]]
        ended.append(step.id)
        if step.facts.stored:  # a measurement that is repeated has another content
            held[step.stage, now.keys[step.id]] = f"{now.keys[step.id]} {content}"
        if choice % 3:  # else together with the next
            now = successors.resolve(now, ended, lookup)
            ended = []
            assert now == resolve(graph, lookup)


def test_a_step_that_left_the_plan_is_ignored() -> None:
    graph = Graph({"a": Step("a", "images")}, {})
    nothing: Mapping[str, str] = {}
    keys = Keys()
    before = resolve(graph, lambda stage, key: nothing.get(key), keys)
    after = Successors(graph, keys, before).resolve(before, ["gone"], lambda stage, key: None)
    assert after == before
