"""Every encoder of a run against every gallery: the cross table from features extracted once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from orchestrator.errors import UserError
from orchestrator.hashing import digest
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.analysis.rescoring import (
    Asked,
    KeptFeatures,
    Progress,
    named_rows,
    policy_of,
    space_of,
)
from orchestrator.results import CellResult
from orchestrator.stages import score


def cross_run(run: Run, asked: Asked, progress: Progress | None = None) -> list[dict[str, Any]]:
    """One table a model and test set; encoders with equal features are one.

    Args:
        run: whose kept features are searched.
        asked: far, fusion, confidence, bootstrap, seed and rows count here.
        progress: called with (pair's name, pairs done, pairs in all).

    Returns:
        `model`, `test_set` (hash), `encoders` (name, rows, executed_by) and `pairs` (gallery,
        probe, rank1, tar): plain JSON.

    Raises:
        UserError: features are not kept.
    """
    kept = KeptFeatures(run)
    groups: dict[str, list[CellResult]] = {}
    for row in named_rows(run, asked.rows):
        group = {"space": space_of(row)}
        group |= {role: kept.images(row, role) for role in ("gallery", "probe")}
        groups.setdefault(digest(group), []).append(row)
    return [_table(run, rows, kept, asked, progress) for rows in groups.values()]


def _table(
    run: Run,
    rows: Sequence[CellResult],
    kept: KeptFeatures,
    asked: Asked,
    progress: Progress | None,
) -> dict[str, Any]:
    from orchestrator import scoring

    first = rows[0]
    policy = policy_of(run, first, asked)
    merged: dict[str, dict[str, Any]] = {}
    enrolled: dict[str, str] = {}
    for row in rows:
        probe = kept.held(row, "probe").content
        one = merged.setdefault(probe, {"rows": [], "names": [], "by": row.executed_by, "row": row})
        one["rows"].append(row.name)
        if (name := row.hardware.rstrip("*")) not in one["names"]:
            one["names"].append(name)
        if not row.mixed:
            one["gallery"] = row
            enrolled[kept.held(row, "gallery").content] = probe
    encoders: dict[str, scoring.EncoderFeatures] = {}
    for probe, one in merged.items():
        probes = kept.features(one["row"], "probe")
        gallery = kept.features(one["gallery"], "gallery") if "gallery" in one else None
        encoders[probe] = scoring.EncoderFeatures(
            space=space_of(first),
            gallery=gallery.rows if gallery else None,
            probes=probes.rows,
            failed_gallery=gallery.failed if gallery else None,
            failed_probes=probes.failed,
        )
    names = _names(merged)
    trials = scoring.TrialSet(
        np.array(kept.features(first, "gallery").ids), np.array(kept.features(first, "probe").ids)
    )
    try:
        found = scoring.cross(
            encoders,
            trials,
            fusion=policy["fusion"],
            progress=(lambda done, total: progress("cross table", done, total))
            if progress
            else None,
        )
    except scoring.ScoringError as error:
        raise UserError(f"scoring: {error}") from error
    pairs = []
    for (gallery_of, probe), searches in found.items():
        facts = score.figures(searches, policy)
        pairs.append(
            {
                "gallery": names[gallery_of],
                "probe": names[probe],
                "rank1": facts["rank1"],
                "tar": facts["tar"],
            }
        )
    return {
        "model": first.model,
        "test_set": first.test_set.hash,
        "policy": policy,
        "encoders": [
            {"name": names[probe], "rows": one["rows"], "executed_by": one["by"]}
            for probe, one in merged.items()
        ],
        "pairs": pairs,
    }


def _names(merged: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Encoders by the hardware they stand for; by their first row where that is not enough."""
    names = {probe: ", ".join(one["names"]) for probe, one in merged.items()}
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {
        probe: f"{name} ({merged[probe]['rows'][0]})" if name in twice else name
        for probe, name in names.items()
    }
