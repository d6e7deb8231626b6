"""Every encoder of a run against every gallery: the cross table from features extracted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from orchestrator import scoring


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
    stored = KeptFeatures(run)
    groups: dict[str, list[CellResult]] = {}
    for row in named_rows(run, asked.rows):
        group = {"space": space_of(row)}
        if row.not_acquired is None:
            group |= {role: stored.images(row, role) for role in ("gallery", "probe")}
        else:  # the same photos, whatever detector took the faces
            group |= {"photos": row.test_set.hash}
        groups.setdefault(digest(group), []).append(row)
    return [_table(run, rows, stored, asked, progress) for rows in groups.values()]


@dataclass
class _Encoder:
    """Rows of which the probe features are equal.

    Attributes:
        rows: their names.
        hardware: that they stand for, each once.
        first: of the rows.
        enrolling: the latest of them whose own encoder enrolled the gallery; None where all are
            mixed.
    """

    first: CellResult
    rows: list[str] = field(default_factory=list)
    hardware: list[str] = field(default_factory=list)
    enrolling: CellResult | None = None

    def add(self, row: CellResult) -> None:
        """One more row."""
        self.rows.append(row.name)
        if (name := row.hardware.rstrip("*")) not in self.hardware:
            self.hardware.append(name)
        if not row.mixed:
            self.enrolling = row

    def features(self, stored: KeptFeatures, space: str) -> scoring.EncoderFeatures:
        """What this encoder has extracted."""
        from orchestrator import scoring

        probes = stored.features(self.first, "probe")
        gallery = stored.features(self.enrolling, "gallery") if self.enrolling else None
        return scoring.EncoderFeatures(
            space=space,
            gallery=gallery.rows if gallery else None,
            probes=probes.rows,
            failed_gallery=gallery.failed if gallery else None,
            failed_probes=probes.failed,
        )


def _table(
    run: Run,
    rows: Sequence[CellResult],
    stored: KeptFeatures,
    asked: Asked,
    progress: Progress | None,
) -> dict[str, Any]:
    from orchestrator import scoring

    first = rows[0]
    policy = policy_of(run, first, asked)
    encoders: dict[str, _Encoder] = {}
    for row in rows:
        content = stored.held(row, "probe").content
        encoders.setdefault(content, _Encoder(row)).add(row)
    features = {key: each.features(stored, space_of(first)) for key, each in encoders.items()}
    names = _names(encoders)
    trials = scoring.TrialSet(
        np.array(stored.features(first, "gallery").ids),
        np.array(stored.features(first, "probe").ids),
    )
    try:
        found = scoring.cross(
            features,
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
        pair = {"gallery": names[gallery_of], "probe": names[probe]}
        pairs.append(pair | {"rank1": facts["rank1"], "tar": facts["tar"]})
    return {
        "model": first.model,
        "test_set": first.test_set.hash,
        "policy": policy,
        "encoders": [
            {"name": names[key], "rows": one.rows, "executed_by": one.first.executed_by}
            for key, one in encoders.items()
        ],
        "pairs": pairs,
    }


def _names(encoders: Mapping[str, _Encoder]) -> dict[str, str]:
    """Encoders by the hardware they stand for; by their first row where that is not enough."""
    names = {key: ", ".join(one.hardware) for key, one in encoders.items()}
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {
        key: f"{name} ({encoders[key].rows[0]})" if name in twice else name
        for key, name in names.items()
    }
