"""split: what a row of two models loses by its detector alone, and by its recognizer alone.

Each is the row with the other model in float32, against float32 throughout, over the same probes.
What both lose together need not be the sum: a probe that fails for either fails once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.stages.compare import TEST, difference
from orchestrator.stages.score import SEARCHES, loaded
from orchestrator.stages.stage import Stage
from orchestrator.stages.stage_output import StageOutput
from orchestrator.stages.work import Work

PARTS = ("detector", "recognizer")


def run(work: Work) -> StageOutput:
    """Split in a Ray worker."""
    return work.services.compute.run(
        split,
        work.input("reference").read(SEARCHES),
        {part: work.input(part).read(SEARCHES) for part in PARTS},
        work.step.params["scoring"],
    )


def split(reference: bytes, alone: Mapping[str, bytes], policy: Mapping[str, Any]) -> StageOutput:
    """Files that `score` wrote.

    Args:
        reference: of float32 throughout.
        alone: by the model that is not in float32.
        policy: the matrix's `scoring`.
    """
    base = loaded(reference)
    facts = {part: difference(base, loaded(data), policy) for part, data in alone.items()}
    return StageOutput({}, facts, {"test": TEST})


def summary(facts: Mapping[str, Any]) -> str:
    """Each part's change of Rank-1 in points."""
    parts = []
    for part in PARTS:
        value = facts[part]["rank1"]["value"]
        parts.append(f"{part} {'not known' if value is None else f'{100 * value:+.2f}'}")
    return "Rank-1 by " + ", ".join(parts) + " points"


STAGE = Stage(STAGE_FACTS["split"], ("reference", *PARTS), run, summary)
