"""Every figure of one cell from its searches: Rank-1, CMC, TAR at FAR, DET, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.errors import ScoringError
from orchestrator.scoring.estimates import Det, Estimate, Tar
from orchestrator.scoring.exact import Float32
from orchestrator.scoring.intervals import (
    TarReplicates,
    beyond_the_sample,
    clustered_wilson,
    highest_threshold,
    identity_weights,
    percentile_interval,
)
from orchestrator.scoring.searches import PairThreshold, Searches
from orchestrator.scoring.threshold import threshold_at

TrialKind = Literal["search", "unknown", "mate_removed"]
FARS = (1e-1, 1e-2, 1e-3, 1e-4)
CMC_RANKS = (1, 5, 10)
NEAR = 1e-6


@dataclass(frozen=True, eq=False)
class Identification:
    """All figures of one cell.

    Attributes:
        rank1: share of mated probes whose mate scores above everyone else; Wilson's interval.
        cmc: share of mated probes with their mate within rank k; None without ranks.
        tar: TPIR at a per-search FAR over all probes' best impostors (the table's column).
        tpir_unknown: the same over unknown probes only (NIST's open-set reading); empty without.
        tar_pairs: share of mated probes at or above an all-pairs threshold, without rank
            condition: a 1:1-style number, never to be mixed with ``tar``; empty unless asked for.
        det: the trade-off behind ``tar``.
        near_ties: mated probes with mate and best impostor within 1e-6 of each other.
        near_threshold: for each FAR, mated probes within 1e-6 of the threshold.
        mated: mated probes, failed ones included: the denominator.
        unknown: unknown probes, failed ones included.
        failed: failed probes.
        mated_failed: mated probes that miss because a probe or all gallery images failed.
        gallery_size: identities in the gallery list.
        gallery_failed: of these, without a usable image.
        confidence: of every interval.
    """

    rank1: Estimate
    cmc: dict[int, Estimate] | None
    tar: dict[float, Tar]
    tpir_unknown: dict[float, Tar]
    tar_pairs: dict[float, Tar]
    det: Det
    near_ties: int
    near_threshold: dict[float, int]
    mated: int
    unknown: int
    failed: int
    mated_failed: int
    gallery_size: int
    gallery_failed: int
    confidence: float


def impostor_trials(searches: Searches, kind: TrialKind) -> NDArray[np.bool_]:
    """Which probes are impostor trials: all that ran, only unknown ones, or only mated ones."""
    ran = ~searches.failed
    if kind == "search":
        return ran
    chosen: NDArray[np.bool_] = ran & (~searches.mated if kind == "unknown" else searches.mated)
    return chosen


def descending_impostors(searches: Searches, kind: TrialKind = "search") -> Float32:
    """Best impostor score of each trial, largest first."""
    ascending: Float32 = np.sort(searches.impostor[impostor_trials(searches, kind)])
    return ascending[::-1]


def accepted(searches: Searches, threshold: float, *, ranked: bool = True) -> NDArray[np.bool_]:
    """Which probes are truly accepted: mate at or above the threshold (and alone at rank 1)."""
    mate = np.where(np.isnan(searches.mate), np.float32(-np.inf), searches.mate)
    reaches = searches.mated & ~np.isnan(searches.mate) & (mate >= threshold)
    result: NDArray[np.bool_] = reaches & searches.hit if ranked else reaches
    return result


def tar_at(
    searches: Searches, far: float, kind: TrialKind = "search", *, ranked: bool = True
) -> Tar:
    """TAR at one target without an interval (``low`` and ``high`` are NaN)."""
    descending = descending_impostors(searches, kind)
    k, threshold, false_accepts = threshold_at(descending, far, descending.size)
    mated = int(searches.mated.sum())
    value = float(accepted(searches, threshold, ranked=ranked).sum()) / mated
    nan = float("nan")
    return _tar(value, (nan, nan), far, k, false_accepts, threshold, int(descending.size))


def _tar(
    value: float,
    interval: tuple[float, float],
    far: float,
    k: int,
    false_accepts: int,
    threshold: float,
    trials: int,
) -> Tar:
    reason = ""
    if k == 0:
        needed = f"at least {1 / far:,.0f} are needed" if far > 0 else "a FAR of 0 has no budget"
        reason = f"n < 1/FAR: {trials:,} impostor trials, {needed}"
    return Tar(
        value=value,
        low=interval[0],
        high=interval[1],
        far_target=far,
        far_achieved=false_accepts / trials if trials else 0.0,
        k=k,
        false_accepts=false_accepts,
        threshold=threshold,
        trials=trials,
        available=k > 0,
        reason=reason,
    )


def identify(
    searches: Searches,
    *,
    far: tuple[float, ...] = FARS,
    confidence: float = 0.95,
    seed: int = 0,
    bootstrap: int = 1000,
) -> Identification:
    """All figures of one cell; instant, needs no features.

    Args:
        searches: from ``search`` or ``Searches.load``.
        far: targets for ``tar`` and ``tpir_unknown``.
        confidence: of the intervals.
        seed: of the bootstrap; the same seed gives the same digits.
        bootstrap: resamples behind each TAR interval.

    Raises:
        ScoringError: no mated probe, or fewer than 100 resamples.
    """
    mated = int(searches.mated.sum())
    if mated == 0:
        raise ScoringError("no probe has a mate in the gallery: Rank-1 and TAR are not defined")
    if bootstrap < 100:
        raise ScoringError(f"an interval needs at least 100 resamples, got {bootstrap}")
    hit = searches.hit[searches.mated]
    identity = searches.identity[searches.mated]
    rank1 = _share(hit, identity, confidence)
    cmc = None
    if searches.rank is not None:
        rank = searches.rank[searches.mated]
        cmc = {
            limit: _share((rank > 0) & (rank <= limit), identity, confidence) for limit in CMC_RANKS
        }
    kinds: tuple[TrialKind, ...] = ("search", "unknown")
    tables = _with_intervals(searches, kinds, far, confidence, seed, bootstrap)
    close = np.abs(searches.mate - searches.impostor)[searches.mated] < NEAR
    return Identification(
        rank1=rank1,
        cmc=cmc,
        tar=tables["search"],
        tpir_unknown=tables["unknown"],
        tar_pairs={pair.far_target: _pairs(searches, pair, confidence) for pair in searches.pairs},
        det=det_points(searches),
        near_ties=int(close.sum()),
        near_threshold={
            target: int((np.abs(searches.mate - tar.threshold) < NEAR).sum())
            for target, tar in tables["search"].items()
        },
        mated=mated,
        unknown=int((~searches.mated).sum()),
        failed=int(searches.failed.sum()),
        mated_failed=int((searches.mated & np.isnan(searches.mate)).sum()),
        gallery_size=searches.gallery_size,
        gallery_failed=searches.gallery_failed,
        confidence=confidence,
    )


def _share(success: NDArray[np.bool_], identity: NDArray[np.int64], confidence: float) -> Estimate:
    low, high = clustered_wilson(success, identity, confidence)
    return Estimate(float(success.mean()), low, high)


def _with_intervals(
    searches: Searches,
    kinds: tuple[TrialKind, ...],
    fars: tuple[float, ...],
    confidence: float,
    seed: int,
    bootstrap: int,
) -> dict[TrialKind, dict[float, Tar]]:
    present = [kind for kind in kinds if impostor_trials(searches, kind).any()]
    machines = {kind: TarReplicates(searches, impostor_trials(searches, kind)) for kind in present}
    drawn: dict[tuple[TrialKind, float], list[NDArray[np.float64]]] = {
        (kind, far): [] for kind in present for far in fars
    }
    for weights in identity_weights(searches.identity, searches.mated, bootstrap, seed):
        for kind, machine in machines.items():
            for far, rates in machine.rates(weights, fars).items():
                drawn[kind, far].append(rates)
    tables: dict[TrialKind, dict[float, Tar]] = {kind: {} for kind in kinds}
    identity = searches.identity[searches.mated]
    if "search" in kinds and "search" not in present:
        # Every image failed: the column says n/a, and that it rests on no trial.
        for far in fars:
            tar = tar_at(searches, far)
            success = accepted(searches, tar.threshold)[searches.mated]
            interval = clustered_wilson(success, identity, confidence)
            tables["search"][far] = _tar(
                tar.value, interval, far, tar.k, tar.false_accepts, tar.threshold, tar.trials
            )
    for kind, far in drawn:
        tar = tar_at(searches, far, kind)
        low, high = percentile_interval(np.concatenate(drawn[kind, far]), confidence)
        # A bootstrap of a rate of 0 or 1 has no width; a fixed threshold's interval is the least.
        success = accepted(searches, tar.threshold)[searches.mated]
        least = clustered_wilson(success, identity, confidence)
        low, high = min(low, least[0]), max(high, least[1])
        independent = np.unique(searches.identity[impostor_trials(searches, kind)]).size
        if tar.k > 0 and beyond_the_sample(far, independent, confidence):
            highest = highest_threshold(descending_impostors(searches, kind), far, confidence)
            rare = float(accepted(searches, highest)[searches.mated].mean())
            # The threshold's share and the probes' own share of the uncertainty, joined by squares.
            low = min(low, max(0.0, tar.value - math.hypot(tar.value - rare, tar.value - least[0])))
        tables[kind][far] = _tar(
            tar.value, (low, high), far, tar.k, tar.false_accepts, tar.threshold, tar.trials
        )
    return tables


def _pairs(searches: Searches, pair: PairThreshold, confidence: float) -> Tar:
    """Over billions of pairs the threshold is all but fixed, so its interval is Wilson's."""
    success = accepted(searches, pair.threshold, ranked=False)[searches.mated]
    interval = clustered_wilson(success, searches.identity[searches.mated], confidence)
    return _tar(
        float(success.mean()),
        interval,
        pair.far_target,
        pair.k,
        pair.false_accepts,
        pair.threshold,
        pair.trials,
    )


def det_points(searches: Searches, points: int = 200) -> Det:
    """The trade-off of ``tar``: budgets from 0 to all trials on a logarithmic grid."""
    descending = descending_impostors(searches)
    trials = int(descending.size)
    mated = int(searches.mated.sum())
    grid = np.unique(np.rint(np.geomspace(1, max(trials, 1), points)).astype(np.int64) - 1)
    if trials == 0 or mated == 0:
        empty = np.empty(0)
        return Det(empty, empty, empty.astype(np.float32))
    edges = descending[grid]
    threshold = np.nextafter(edges, np.float32(np.inf))
    false_accepts = np.searchsorted(-descending, -edges, side="left")
    hits = np.sort(searches.mate[searches.hit])
    misses = 1 - (hits.size - np.searchsorted(hits, edges, side="right")) / mated
    keep = np.unique(false_accepts, return_index=True)[1]
    return Det(false_accepts[keep] / trials, misses[keep], threshold[keep])
