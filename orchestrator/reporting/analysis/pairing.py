"""A row in two runs, and how its rates changed, paired over the same probes or images.

Recognition: McNemar's test on Rank-1 and a bootstrap of both thresholds together for TAR.
Detection: a bootstrap over the images. p values are two-sided, before Holm's adjustment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from orchestrator.columns.tasks import judged
from orchestrator.reporting.analysis.figures import (
    detections_of,
    false_positives_of,
    searches_of,
    truth_of,
)
from orchestrator.reporting.analysis.history import Run
from orchestrator.results import NO_RATE, CellResult, Estimate, Tar
from orchestrator.scoring import ScoringError
from orchestrator.scoring import compare as compare_searches

SIGNIFICANT = 0.05
SEED, RESAMPLES = 0, 1000
UNPAIRED = "of one run are not here: intervals are wider, not paired"
Kind = Literal["paired", "equal", "unpaired", "none"]


@dataclass(frozen=True)
class Change:
    """The second run's rate minus the first's, as fractions, with a 95 % interval and p values.

    Attributes:
        p: two-sided, for no change; `p_holm` is adjusted over the rows compared.
    """

    value: float
    low: float
    high: float
    p: float
    p_holm: float = 1.0

    @property
    def real(self) -> bool:
        """Whether it is significant."""
        return self.p_holm < SIGNIFICANT


@dataclass(frozen=True)
class Slower:
    """The second run's time over the first's at one percentile: 1.1 is 10 % slower.

    The interval holds what varies within the two measurements, not what varies between sessions.
    """

    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class RowPair:
    """A row in both runs.

    Attributes:
        kind: `equal`: the very same stored searches or boxes; `paired`: over the same probes or
            images; `unpaired`: same test set, but these are not stored here any more; `none`: not
            comparable.
        why: why it is not comparable or not paired.
        changes: of each rate that both have, by its key.
        time: by percentile (50, 90, 99), empty where a row has no valid time, with `no_time`.
        lost, gained: probes that only the first, or only the second, ranks first; faces that only
            one of the two finds.
    """

    name: str
    first: CellResult
    second: CellResult
    kind: Kind
    why: str = ""
    changes: Mapping[str, Change] = field(default_factory=dict)
    lost: int = 0
    gained: int = 0
    time: dict[int, Slower] | None = None
    no_time: str = ""


def of_searches(run_a: Run, run_b: Run, pair: RowPair) -> RowPair:
    """A pair of recognition rows with its changes."""
    a, b = pair.first, pair.second
    if a.tar.far_target != b.tar.far_target:
        return replace(pair, why="tables at different FARs: not comparable")
    if _same(pair, "score"):
        return _equal(pair, "the same stored searches")
    first, second = searches_of(run_a, a), searches_of(run_b, b)
    if first is None or second is None:
        return _unpaired(pair, f"the stored searches {UNPAIRED}")
    far = a.tar.far_target
    try:
        found = compare_searches(first, second, far=(far,), seed=SEED, bootstrap=RESAMPLES)
    except ScoringError as error:
        return replace(pair, why=str(error))
    rank1, tar = found.rank1_difference, found.tar_difference[far]
    changes = {"rank1": Change(rank1.value, rank1.low, rank1.high, found.p_value)}
    if a.tar.available and b.tar.available:
        p = normal_p(tar.value, tar.low, tar.high)
        changes["tar"] = Change(tar.value, tar.low, tar.high, p)
    return replace(pair, kind="paired", changes=changes, lost=found.lost, gained=found.gained)


def of_detectors(run_a: Run, run_b: Run, pair: RowPair) -> RowPair:
    """A pair of detectors' rows with its changes."""
    if _same(pair, "evaluate"):
        return _equal(pair, "the same stored boxes")
    first, second = detections_of(run_a, pair.first), detections_of(run_b, pair.second)
    truth = truth_of(run_a, pair.first) or truth_of(run_b, pair.second)
    if first is None or second is None or truth is None:
        return _unpaired(pair, f"the stored boxes {UNPAIRED}")
    from orchestrator import detection

    at = false_positives_of(pair.first)
    policy = detection.DetectionPolicy(bootstrap=RESAMPLES, seed=SEED, false_positives=at)
    try:
        found = detection.compare(first, second, truth, policy, at[0])
    except detection.DetectionError as error:
        return replace(pair, why=str(error))
    by = judged([pair.first])
    changes = {}
    for rate in by.rates:
        each = found.recall if rate.key == "recall" else found.ap[rate.subset]
        if math.isfinite(each.value):
            p = found.p if rate is by.main else normal_p(each.value, each.low, each.high)
            changes[rate.key] = Change(each.value, each.low, each.high, p)
    return replace(pair, kind="paired", changes=changes, lost=found.lost, gained=found.gained)


def normal_p(value: float, low: float, high: float) -> float:
    """Two-sided p for no change, from a 95 % interval taken as normal: coarse; Holm needs one."""
    error = (high - low) / (2 * 1.959964)
    if error <= 0:
        return 1.0 if value == 0 else 0.0
    return math.erfc(abs(value) / error / math.sqrt(2))


def known(estimate: Estimate) -> Estimate:
    """The estimate, empty where it is a TAR that is not available."""
    return NO_RATE if isinstance(estimate, Tar) and not estimate.available else estimate


def _same(pair: RowPair, stage: str) -> bool:
    """Whether both rows have the very same result of a stage."""
    keys = [row.provenance.get("keys", {}).get(stage) for row in (pair.first, pair.second)]
    return keys[0] is not None and keys[0] == keys[1]


def _equal(pair: RowPair, why: str) -> RowPair:
    zero = Change(0.0, 0.0, 0.0, 1.0)
    changes = {
        rate.key: zero
        for rate in judged([pair.first]).rates
        if all(known(rate.of(row)).value is not None for row in (pair.first, pair.second))
    }
    return replace(pair, kind="equal", why=why, changes=changes)


def _unpaired(pair: RowPair, why: str) -> RowPair:
    changes = {}
    for rate in judged([pair.first]).rates:
        change = _newcombe(known(rate.of(pair.first)), known(rate.of(pair.second)))
        if change is not None:
            changes[rate.key] = change
    return replace(pair, kind="unpaired", why=why, changes=changes)


def _newcombe(a: Estimate, b: Estimate) -> Change | None:
    """Newcombe's hybrid interval of two rates' difference (Stat. Med. 17, 1998, method 10)."""
    numbers = [v for e in (a, b) for v in (e.value, e.low, e.high) if v is not None]
    if len(numbers) < 6:
        return None
    value_a, low_a, high_a, value_b, low_b, high_b = numbers
    change = value_b - value_a
    low = change - math.hypot(value_b - low_b, high_a - value_a)
    high = change + math.hypot(high_b - value_b, value_a - low_a)
    return Change(change, low, high, normal_p(change, low, high))
