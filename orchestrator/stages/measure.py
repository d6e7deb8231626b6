"""measure: single inferences timed on a board, interleaved with its other encoders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.cluster.interfaces import BoardMessage, ImageFile
from orchestrator.errors import FarmError
from orchestrator.planning import identity
from orchestrator.planning.evidence import Evidence
from orchestrator.planning.facts import BoardFacts
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.results import Verdict
from orchestrator.specs.kinds import load_kinds
from orchestrator.stages import deploy, image_rows
from orchestrator.stages.conditions import Conditions
from orchestrator.stages.interleaved import Series, merged, share, take_turns
from orchestrator.stages.latency import p50, pack
from orchestrator.stages.stage import Stage
from orchestrator.stages.stage_output import StageOutput
from orchestrator.stages.work import Work

IMAGES = 16
# How long another run may take to let go of an encoder that would be measured along.
_LOCK_S = 0.5


def run(work: Work) -> StageOutput:
    """Measure the step's encoder, interleaved with the board's others where there are rounds."""
    rounds = work.step.params["policy"]["rounds"]
    with contextlib.ExitStack() as held:
        others = _others(work, held) if rounds > 1 else []
        works = {_series(work): work} | {_series(each, optional=True): each for each in others}
        full = take_turns(
            list(works),
            rounds,
            lambda series, message: work.receive(message, series.about, "inferences"),
        )
        turns = [works[series].step.id for series in full]
        for series in full[1:]:
            works[series].commit(_output(works[series], series, turns))
        return _output(work, full[0], turns)


def _others(work: Work, held: contextlib.ExitStack) -> list[Work]:
    """The other encoders that this board has yet to be measured with, deployed; all held."""
    plan, found = work.services.plan, []
    for other in list(plan.graph.steps.values()):
        key = plan.resolution.keys.get(other.id)
        if (
            key is None
            or other.id == work.step.id
            or (other.stage, other.board) != (work.step.stage, work.step.board)
            or other.id not in plan.resolution.todo
        ):
            continue
        another = work.another(other, key)
        try:
            another.input("images")
            owner = work.services.owner
            if held.enter_context(work.store.making(other.stage, key, owner, _LOCK_S)) is None:
                deploy.run(another)
                found.append(another)
        except FarmError:
            continue  # not ready, or another run's: it is measured by itself
    return found


def _series(work: Work, *, optional: bool = False) -> Series:
    def measure() -> Iterator[BoardMessage]:
        step, pictures = work.step, work.input("images")
        _, artifact = work.artifact()
        count = min(IMAGES, image_rows.count(pictures))
        images = ImageFile(str(pictures.verify(image_rows.FILE)), ((0, count),))
        policy = share(step.params["policy"])
        return work.services.boards.measure(
            step.board, artifact, images, policy, step.extra["sensors"]
        )

    return Series(measure, optional)


def _output(work: Work, series: Series, turns: list[str]) -> StageOutput:
    step, plan = work.step, work.services.plan
    policy = step.params["policy"]
    times, conditions = merged(series.rounds)
    about = series.about.to_json() | {"measured": dict(conditions.facts), "turns": turns}
    facts = plan.facts.get(step.board) if step.executed_by == "board" else None
    return pack(
        times,
        judged(conditions, plan.boards[step.board].kind, facts, plan.emulator(step.board)),
        policy,
        str(step.executed_by),
        work.provenance(about) | {"board": step.params["board"], "policy": policy},
    )


def judged(
    conditions: Conditions, kind: str, facts: BoardFacts | None, emulator: str = ""
) -> Conditions:
    """Conditions with what the board's own facts say against its entry in the inventory.

    Args:
        kind: of the board.
        facts: what its agent told; None where nothing is to be told of it.
        emulator: by what it shows that it is an emulator.
    """
    if emulator or facts is None:
        return replace(conditions, emulator=emulator)
    seen = Evidence.by_agent(facts.machine, facts.identity)
    found = identity.judge(load_kinds()[kind], seen)
    return replace(
        conditions,
        stranger=found.stranger,
        untold=found.unseen,
        emulator=found.emulator,
        perhaps=found.perhaps,
    )


def summary(facts: Mapping[str, Any]) -> str:
    """The median and its verdict."""
    if facts["verdict"] == Verdict.EMULATED:
        return f"{facts['reason']}: only results.json has it"
    why = f" ({facts['reason']})" if facts["verdict"] == Verdict.SUSPECT else ""
    return f"p50 {p50(facts)}, {facts['verdict']}{why}"


STAGE = Stage(STAGE_FACTS["measure"], ("artifact", "images"), run, summary)
