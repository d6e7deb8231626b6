"""score and compare: features into the table's two accuracy columns, and which drops are real."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import UserError
from orchestrator.stages.made import Made

SEARCHES = "searches.npz"


def score(
    gallery: NDArray[np.float32],
    probes: NDArray[np.float32],
    gallery_failed: NDArray[np.bool_],
    probes_failed: NDArray[np.bool_],
    gallery_ids: list[str],
    probe_ids: list[str],
    policy: Mapping[str, Any],
) -> Made:
    """Search every probe in the gallery.

    Args:
        gallery, probes: float32 (n, dim).
        gallery_failed, probes_failed: rows without features; they count as misses.
        gallery_ids, probe_ids: identities, one a row.
        policy: the matrix's `scoring`.
    """
    from orchestrator import scoring

    try:
        trials = scoring.TrialSet(np.array(gallery_ids), np.array(probe_ids))
        warnings = [
            finding.message
            for what, features, ids, failed in (
                ("gallery", gallery, trials.gallery_ids, gallery_failed),
                ("probes", probes, trials.probe_ids, probes_failed),
            )
            for finding in scoring.check_features(features, what=what, ids=ids, failed=failed)
        ]
        searches = scoring.search(
            gallery,
            probes,
            trials,
            fusion=policy["fusion"],
            failed_gallery=gallery_failed,
            failed_probes=probes_failed,
        )
        found = scoring.identify(
            searches,
            far=tuple(policy["far"]),
            confidence=policy["confidence"],
            seed=policy["seed"],
            bootstrap=policy["bootstrap"],
        )
    except scoring.ScoringError as error:
        raise UserError(f"scoring: {error}") from error
    every = {far: _plain(asdict(tar)) for far, tar in found.tar.items()}
    facts = {
        "rank1": _plain(asdict(found.rank1)),
        "tar": every[policy["table_far"]],
        "tar_all": list(every.values()),
        "tpir_unknown": [_plain(asdict(tar)) for tar in found.tpir_unknown.values()],
        "cmc": {str(rank): _plain(asdict(e)) for rank, e in (found.cmc or {}).items()},
        "det": {
            "far": found.det.far.tolist(),
            "miss": found.det.miss.tolist(),
        },
        "gallery": found.gallery_size,
        "probes": len(probe_ids),
        "mated": found.mated,
        "unknown": found.unknown,
        "failed": found.failed + found.gallery_failed,
        "near_ties": found.near_ties,
        "warnings": warnings,
    }
    return Made(
        {SEARCHES: _bytes(searches)},
        facts,
        {"confidence": found.confidence, "seed": policy["seed"], "bootstrap": policy["bootstrap"]},
    )


def compare(reference: bytes, cell: bytes, policy: Mapping[str, Any]) -> Made:
    """A row's searches against those of the float32 reference over the same probes.

    Args:
        reference, cell: files that `score` made.
        policy: the matrix's `scoring`.
    """
    from orchestrator import scoring

    far = policy["table_far"]
    found = scoring.compare(
        _searches(reference),
        _searches(cell),
        far=(far,),
        confidence=policy["confidence"],
        seed=policy["seed"],
        bootstrap=policy["bootstrap"],
    )
    facts = {
        "rank1": _plain(asdict(found.rank1_difference)),
        "tar": _plain(asdict(found.tar_difference[far])),
        "only_reference": found.lost,
        "only_cell": found.gained,
        "p": found.p_value,
    }
    return Made({}, facts, {"test": "McNemar, exact"})


def _bytes(searches: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SEARCHES
        searches.save(path)
        return path.read_bytes()


def _searches(data: bytes) -> Any:
    from orchestrator import scoring

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SEARCHES
        path.write_bytes(data)
        return scoring.Searches.load(path)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no infinity: both become null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
