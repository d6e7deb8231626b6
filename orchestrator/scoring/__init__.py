"""1:N face identification, usable alone: exact scores, honest thresholds, honest intervals.

    trials = TrialSet(gallery_ids, probe_ids)
    searches = search(gallery, probes, trials)
    figures = identify(searches)
    print(figures.rank1, figures.tar[1e-3])

Needs numpy and threadpoolctl only. All errors are ``ScoringError``, a ``ValueError``.
"""

from orchestrator.scoring.errors import ScoringError
from orchestrator.scoring.estimates import Det, Estimate, Tar
from orchestrator.scoring.figures import (
    Identification,
    accepted,
    descending_impostors,
    det_points,
    identify,
    tar_at,
)
from orchestrator.scoring.intervals import wilson
from orchestrator.scoring.paired import Comparison, compare, holm, mcnemar
from orchestrator.scoring.sanity import Finding, check_features
from orchestrator.scoring.searches import PairThreshold, Searches
from orchestrator.scoring.searching import search
from orchestrator.scoring.templates import Fusion, dequantize
from orchestrator.scoring.trials import TrialSet

__all__ = [
    "Comparison",
    "Det",
    "Estimate",
    "Finding",
    "Fusion",
    "Identification",
    "PairThreshold",
    "ScoringError",
    "Searches",
    "Tar",
    "TrialSet",
    "accepted",
    "check_features",
    "compare",
    "dequantize",
    "descending_impostors",
    "det_points",
    "holm",
    "identify",
    "mcnemar",
    "search",
    "tar_at",
    "wilson",
]
