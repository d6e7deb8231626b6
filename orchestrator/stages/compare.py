"""compare: a row's searches against those of the float32 reference over the same probes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.stages.score import SEARCHES, loaded, plain
from orchestrator.stages.stage import Stage
from orchestrator.stages.stage_output import StageOutput
from orchestrator.stages.work import Work

if TYPE_CHECKING:
    from orchestrator.scoring import Searches

TEST = "McNemar, exact"


def run(work: Work) -> StageOutput:
    """Compare in a Ray worker."""
    return work.services.compute.run(
        compare,
        work.input("reference").read(SEARCHES),
        work.input("cell").read(SEARCHES),
        work.step.params["scoring"],
    )


def compare(reference: bytes, cell: bytes, policy: Mapping[str, Any]) -> StageOutput:
    """Two files that `score` made.

    Args:
        policy: the matrix's `scoring`.
    """
    return StageOutput({}, difference(loaded(reference), loaded(cell), policy), {"test": TEST})


def difference(reference: Searches, cell: Searches, policy: Mapping[str, Any]) -> dict[str, Any]:
    """What `compare` finds, as plain JSON."""
    from dataclasses import asdict

    from orchestrator import scoring

    far = policy["table_far"]
    found = scoring.compare(
        reference,
        cell,
        far=(far,),
        confidence=policy["confidence"],
        seed=policy["seed"],
        bootstrap=policy["bootstrap"],
    )
    return {
        "rank1": plain(asdict(found.rank1_difference)),
        "tar": plain(asdict(found.tar_difference[far])),
        "only_reference": found.lost,
        "only_cell": found.gained,
        "p": found.p_value,
    }


def summary(facts: Mapping[str, Any]) -> str:
    """Nothing: the row shows it."""
    return ""


STAGE = Stage(STAGE_FACTS["compare"], ("reference", "cell"), run, summary)
