"""1:N face identification, usable alone: exact scores, honest thresholds, honest intervals.

    trials = TrialSet(gallery_ids, probe_ids)
    searches = search(gallery, probes, trials)
    figures = identify(searches)
    print(figures.rank1, figures.tar[1e-3])

Needs numpy and threadpoolctl; with onnx and onnxruntime large galleries go faster. All
errors are ``ScoringError``, a ``ValueError``. Names are loaded when they are asked for: a plan asks
for the budget of false accepts alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.scoring.errors import ScoringError, UnusableRow
    from orchestrator.scoring.estimates import Det, Estimate, Tar
    from orchestrator.scoring.figures import (
        Identification,
        accepted,
        descending_impostors,
        det_points,
        identify,
        tar_at,
    )
    from orchestrator.scoring.interchange import (
        pool_templates,
        read_features_npy,
        read_identities,
        read_matrix,
        read_template_media,
        read_template_subjects,
        write_safetensors,
        write_scores_csv,
    )
    from orchestrator.scoring.intervals import wilson
    from orchestrator.scoring.many import (
        EncoderFeatures,
        cross,
        cut_gallery,
        join_probes,
        merge_shards,
        search_shard,
    )
    from orchestrator.scoring.paired import Comparison, compare, holm, mcnemar
    from orchestrator.scoring.sanity import Finding, check_features
    from orchestrator.scoring.searches import PairThreshold, Searches
    from orchestrator.scoring.searching import mates, search
    from orchestrator.scoring.templates import Fusion, dequantize
    from orchestrator.scoring.trials import TrialSet

__all__ = [
    "Comparison",
    "Det",
    "EncoderFeatures",
    "Estimate",
    "Finding",
    "Fusion",
    "Identification",
    "PairThreshold",
    "ScoringError",
    "Searches",
    "Tar",
    "TrialSet",
    "UnusableRow",
    "accepted",
    "check_features",
    "compare",
    "cross",
    "cut_gallery",
    "dequantize",
    "descending_impostors",
    "det_points",
    "holm",
    "identify",
    "join_probes",
    "mates",
    "mcnemar",
    "merge_shards",
    "pool_templates",
    "read_features_npy",
    "read_identities",
    "read_matrix",
    "read_template_media",
    "read_template_subjects",
    "search",
    "search_shard",
    "tar_at",
    "wilson",
    "write_safetensors",
    "write_scores_csv",
]

_FILES = {
    "Comparison": "paired",
    "Det": "estimates",
    "EncoderFeatures": "many",
    "Estimate": "estimates",
    "Finding": "sanity",
    "Fusion": "templates",
    "Identification": "figures",
    "PairThreshold": "searches",
    "ScoringError": "errors",
    "Searches": "searches",
    "Tar": "estimates",
    "TrialSet": "trials",
    "UnusableRow": "errors",
    "accepted": "figures",
    "check_features": "sanity",
    "compare": "paired",
    "cross": "many",
    "cut_gallery": "many",
    "dequantize": "templates",
    "descending_impostors": "figures",
    "det_points": "figures",
    "holm": "paired",
    "identify": "figures",
    "join_probes": "many",
    "mates": "searching",
    "mcnemar": "paired",
    "merge_shards": "many",
    "pool_templates": "interchange",
    "read_features_npy": "interchange",
    "read_identities": "interchange",
    "read_matrix": "interchange",
    "read_template_media": "interchange",
    "read_template_subjects": "interchange",
    "search": "searching",
    "search_shard": "many",
    "tar_at": "figures",
    "wilson": "intervals",
    "write_safetensors": "interchange",
    "write_scores_csv": "interchange",
}


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
