"""A board against the reference on the same probes: which differences are real."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.errors import ScoringError
from orchestrator.scoring.estimates import Estimate
from orchestrator.scoring.figures import FARS, impostor_trials, tar_at
from orchestrator.scoring.intervals import (
    TarReplicates,
    identity_weights,
    normal_quantile,
    percentile_interval,
)
from orchestrator.scoring.searches import Searches

EXACT_LIMIT = 1000


@dataclass(frozen=True, eq=False)
class Comparison:
    """``second`` against ``first`` (the reference) over the same probes.

    Attributes:
        lost: probes that only the first has at rank 1 (McNemar's b).
        gained: probes that only the second has at rank 1 (McNemar's c).
        p_value: McNemar's, two-sided, for equal Rank-1.
        rank1_difference: Rank-1 of the second minus that of the first.
        tar_difference: for each FAR, TAR of the second minus that of the first, each at its own
            threshold; both are resampled with the same probes.
    """

    lost: int
    gained: int
    p_value: float
    rank1_difference: Estimate
    tar_difference: dict[float, Estimate]


def mcnemar(lost: int, gained: int) -> float:
    """Two-sided p of McNemar's test (Psychometrika 12, 1947).

    Exact binomial below 1,000 discordant probes, else chi-square with Edwards' correction
    ``(|b - c| - 1)^2 / (b + c)`` (Psychometrika 13, 1948).
    """
    discordant = lost + gained
    if discordant == 0:
        return 1.0
    if discordant < EXACT_LIMIT:
        tail = sum(math.comb(discordant, count) for count in range(min(lost, gained) + 1))
        return min(1.0, float(Fraction(2 * tail, 2**discordant)))  # no overflow on the way
    return corrected_mcnemar(lost, gained)


def corrected_mcnemar(lost: int, gained: int) -> float:
    """The chi-square form with one degree of freedom, for ``lost + gained > 0``."""
    statistic = max(0, abs(lost - gained) - 1) ** 2 / (lost + gained)
    return math.erfc(math.sqrt(statistic / 2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values (Scand. J. Stat. 6, 1979), in the given order.

    Raises:
        ScoringError: a value outside 0..1.
    """
    if any(not 0 <= value <= 1 for value in p_values):
        raise ScoringError(f"p values lie between 0 and 1, got {list(p_values)}")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def paired_difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], confidence: float = 0.95
) -> Estimate:
    """Rate of ``second`` minus rate of ``first`` over the same trials, with an interval.

    Bonett and Price's adjusted Wald interval (J. Educ. Behav. Stat. 37, 2012): one trial is added
    to each kind of disagreement. Unlike the plain Wald interval it has a width when the two never
    disagree; for many trials the two agree.
    """
    trials = first.size
    lost = int((first & ~second).sum())
    gained = int((second & ~first).sum())
    z = normal_quantile(confidence)
    down, up = (lost + 1) / (trials + 2), (gained + 1) / (trials + 2)
    middle = up - down
    half = z * math.sqrt(max(0.0, (up + down - middle * middle) / (trials + 2)))
    value = (gained - lost) / trials
    return Estimate(value, max(-1.0, middle - half), min(1.0, middle + half))


def check_same_probes(first: Searches, second: Searches) -> None:
    """Refuse to pair searches of different probes.

    Raises:
        ScoringError: another number, identity or mating of probes.
    """
    if first.identity.shape != second.identity.shape:
        raise ScoringError(
            f"cannot compare: {first.identity.size} probes against {second.identity.size}"
        )
    different = (first.identity != second.identity) | (first.mated != second.mated)
    if different.any():
        row = int(np.flatnonzero(different)[0])
        raise ScoringError(
            f"cannot compare: probe row {row} is another identity, or mated in only one of the two"
        )


def compare(
    first: Searches,
    second: Searches,
    *,
    far: tuple[float, ...] = FARS,
    confidence: float = 0.95,
    seed: int = 0,
    bootstrap: int = 1000,
) -> Comparison:
    """The second (a board) against the first (float32) on the same probes.

    Args:
        first: the reference.
        second: compared with it.
        far: per-search FAR targets.
        confidence: of the intervals.
        seed: of the bootstrap.
        bootstrap: resamples.

    Raises:
        ScoringError: the probes differ, or none is mated.
    """
    check_same_probes(first, second)
    if not first.mated.any():
        raise ScoringError("no probe has a mate in the gallery: there is nothing to compare")
    right_first, right_second = first.hit[first.mated], second.hit[first.mated]
    lost = int((right_first & ~right_second).sum())
    gained = int((right_second & ~right_first).sum())
    replicates: dict[float, list[NDArray[np.float64]]] = {target: [] for target in far}
    machine_first = TarReplicates(first, impostor_trials(first, "search"))
    machine_second = TarReplicates(second, impostor_trials(second, "search"))
    rank1: list[NDArray[np.float64]] = []
    change = right_second.astype(np.int32) - right_first.astype(np.int32)
    clustered = np.unique(first.identity[first.mated]).size < right_first.size
    for weights in identity_weights(first.identity, first.mated, bootstrap, seed):
        before, after = machine_first.rates(weights, far), machine_second.rates(weights, far)
        for target in far:
            replicates[target].append(after[target] - before[target])
        if clustered:
            mine = weights[:, first.mated]
            rank1.append((mine * change).sum(axis=1) / np.maximum(mine.sum(axis=1), 1))
    difference = paired_difference(right_first, right_second, confidence)
    if clustered:
        low, high = percentile_interval(np.concatenate(rank1), confidence)
        difference = Estimate(
            difference.value, min(low, difference.low), max(high, difference.high)
        )
    return Comparison(
        lost=lost,
        gained=gained,
        p_value=mcnemar(lost, gained),
        rank1_difference=difference,
        tar_difference={
            target: Estimate(
                tar_at(second, target).value - tar_at(first, target).value,
                *percentile_interval(np.concatenate(replicates[target]), confidence),
            )
            for target in far
        },
    )
