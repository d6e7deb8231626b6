"""Features that this host has computed already, or computes now, for another emulated board.

Two emulated boards of one artifact are one computation: the same file, runtime, processor and
images, all on this host. The second makes 16 of the images; where its features are the same, bit
for bit, it helps with the extraction that is under way, or takes the features that the store has.
A real board never does: what it computes is its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.features import Features
from orchestrator.hashing import digest
from orchestrator.planning.graph import Step
from orchestrator.planning.spares import ON_THIS_HOST
from orchestrator.planning.stage_facts import SHARED_FROM
from orchestrator.stages.extracting import Unlike, hold_against, make_pieces
from orchestrator.stages.shared_extraction import CANARY, FirstOfSame
from orchestrator.stages.work import About, Work
from orchestrator.store.artifacts import CorruptArtifact
from orchestrator.store.features import FeatureWriter, read_features

BLOCK = 4096
LOOK_S, ENDS_S = 0.05, 10.0


@dataclass(frozen=True)
class Taken:
    """Features that another step has.

    Attributes:
        step: its id.
        brought: rows by board, of those that this board helped with or that were made at all.
    """

    step: str
    brought: dict[str, int]


def name_of(work: Work, step: Step) -> str:
    """What two steps have in common that make the same features; empty where none may."""
    if step.stage != "extract" or step.executed_by not in ON_THIS_HOST:
        return ""
    if not work.services.plan.boards[step.board].emulated:
        return ""
    contents = work.services.plan.resolution.contents
    inputs = {role: contents.get(source) for role, source in step.inputs.items()}
    if None in inputs.values() or step.params["runtime"] is None:
        return ""
    params = {name: value for name, value in step.params.items() if name != "kind"}
    return digest({"inputs": inputs, "params": params})


def take(
    work: Work, same: str, first: FirstOfSame | None, writer: FeatureWriter, about: About
) -> Taken | None:
    """Fill `writer` with the features of another emulated board; None when they must be made.

    Args:
        same: see `name_of`.
        first: the step that makes them at the moment.
    """
    if not same or sum(stop - start for start, stop in writer.missing()) < SHARED_FROM:
        return None
    with contextlib.suppress(Unlike, CorruptArtifact):
        helped = first and _helped(work, writer, about, first)
        return helped or _stored(work, writer, same)
    return None


def _helped(work: Work, writer: FeatureWriter, about: About, first: FirstOfSame) -> Taken | None:
    """Help with it to its end."""
    services, board = work.services, work.step.board
    while (shared := services.extractions.led(first.step.id)) is None:
        if services.stop.is_set() or first.ended.wait(LOOK_S):
            return None
    work.progress(shared.done, shared.total, "images", f"with {first.step.board}")
    try:
        features = shared.rows()
    except OSError:  # it has just ended
        first.ended.wait(ENDS_S)
        return None
    leader = work.another(first.step, services.plan.resolution.keys.get(first.step.id, ""))
    with shared.helping():
        canary = shared.canary(services.stop)
        if canary is not None:
            hold_against(work, board, *canary)
            make_pieces(leader, board, shared, about)
    over = shared.await_end(services.stop)
    if canary is None or not over:
        first.ended.wait(ENDS_S)
        return None
    _copy(writer, features, shared.failed())
    return Taken(first.step.id, shared.brought)


def _stored(work: Work, writer: FeatureWriter, same: str) -> Taken | None:
    plan = work.services.plan
    for step in plan.graph.steps.values():
        key = plan.resolution.keys.get(step.id)
        if step.id == work.step.id or key is None or name_of(work, step) != same:
            continue
        held = plan.store.lookup(step.stage, key)
        if held is None:
            continue
        features, failed, _ = read_features(held.folder)
        count = min(CANARY, len(features))
        hold_against(work, work.step.board, (0, count), np.array(features[:count]))
        _copy(writer, features, np.flatnonzero(failed).tolist())
        return Taken(step.id, _brought(held.manifest["provenance"], len(features)))
    return None


def _brought(provenance: Mapping[str, Any], rows: int) -> dict[str, int]:
    found = provenance.get("rows_by_board") or {provenance["board_name"]: rows}
    return {str(board): int(count) for board, count in found.items()}


def _copy(writer: FeatureWriter, features: NDArray[Any], failed: list[int]) -> None:
    lost = np.zeros(len(features), bool)
    lost[failed] = True
    for first, last in writer.missing():
        for start in range(first, last, BLOCK):
            part = slice(start, min(start + BLOCK, last))
            writer.add(Features(np.array(features[part]), lost[part], start=start))
