"""Intervals of single rates: Wilson's, and a bootstrap that chooses the threshold again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.errors import ScoringError
from orchestrator.scoring.exact import Float32, Float64
from orchestrator.scoring.searches import Searches

Index = NDArray[np.intp] | slice

_DRAWN = 4_000_000
"""Weights whose identities are drawn at a time: another number would be another sample."""
_YIELDED = 400_000
"""Weights that are looked at together; they stay in a processor's cache."""
_TAIL = 20


def normal_quantile(confidence: float) -> float:
    """Two-sided quantile of the standard normal: 1.959964 for 0.95.

    Raises:
        ScoringError: a confidence outside 0..1.
    """
    if not 0 < confidence < 1:
        raise ScoringError(f"a confidence lies between 0 and 1, got {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(successes: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (JASA 22, 1927) of ``successes / trials``.

    Fractional counts are allowed: a clustered sample enters with its effective size.
    """
    if trials <= 0:
        return 0.0, 1.0
    z = normal_quantile(confidence)
    rate = successes / trials
    middle = rate + z * z / (2 * trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low = 0.0 if successes <= 0 else max(0.0, (middle - half) / scale)
    high = 1.0 if successes >= trials else min(1.0, (middle + half) / scale)
    return low, high


def effective_trials(success: NDArray[np.bool_], cluster: NDArray[np.int64]) -> float:
    """Trials that independent sampling would need for the variance that these clusters show.

    The design effect is the ratio of the linearized cluster variance of the rate to the binomial
    one (Rao and Scott, Biometrics 48, 1992); it is taken to be at least 1.

    Args:
        success: outcome of each trial, bool ``(n,)``.
        cluster: identity of each trial, ``(n,)``.
    """
    trials = success.size
    _, code = np.unique(cluster, return_inverse=True)
    clusters = int(code.max()) + 1 if trials else 0
    if clusters in (0, 1, trials):
        return float(trials)
    rate = float(success.mean())
    binomial = rate * (1 - rate) / trials
    if binomial == 0:
        return float(clusters)  # all alike: nothing shows the clusters' effect, so assume the worst
    residual = np.bincount(code, weights=success - rate)
    variance = float((residual**2).sum()) / trials**2 * clusters / (clusters - 1)
    return trials / max(1.0, variance / binomial)


def clustered_wilson(
    success: NDArray[np.bool_], cluster: NDArray[np.int64], confidence: float
) -> tuple[float, float]:
    """Wilson's interval of a rate over clustered trials; the plain one when none repeats."""
    size = effective_trials(success, cluster)
    rate = float(success.mean()) if success.size else 0.0
    return wilson(rate * size, size, confidence)


def identity_weights(
    identity: NDArray[np.int64],
    strata: NDArray[np.bool_],
    replicates: int,
    seed: int,
) -> Iterator[NDArray[np.int32]]:
    """How often each probe occurs in each bootstrap sample of identities.

    Mated and unknown identities are resampled apart, as the test set's design fixes both numbers.

    Args:
        identity: identity of each probe, ``(P,)``.
        strata: whether each probe is mated, ``(P,)``.
        replicates: samples in all.
        seed: of numpy's PCG64.

    Yields:
        int32 ``(b, P)`` until ``replicates`` rows have come.
    """
    random = np.random.default_rng(seed)
    step = max(1, _DRAWN // max(1, identity.size))
    part = max(1, _YIELDED // max(1, identity.size))
    groups: list[tuple[Index, Index, int]] = []
    for stratum in (True, False):
        member = np.flatnonzero(strata == stratum)
        if member.size:
            code = np.unique(identity[member], return_inverse=True)[1]
            groups.append((_range_or(member), _range_or(code), int(code.max()) + 1))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        drawn = [random.integers(0, size, (rows, size)) for _, _, size in groups]
        for low in range(0, rows, part):
            weights = np.zeros((min(part, rows - low), identity.size), np.int32)
            for (columns, places, size), numbers in zip(groups, drawn, strict=True):
                for row, identities in zip(weights, numbers[low : low + part], strict=True):
                    row[columns] = _taken(np.bincount(identities, minlength=size), places)
            yield weights


def _range_or(index: NDArray[np.intp]) -> Index:
    """An index that only counts up as the slice it is: taken without a copy."""
    if index.size and np.array_equal(index, np.arange(index[0], index[0] + index.size)):
        return slice(int(index[0]), int(index[0]) + index.size)
    return index


def _taken(values: NDArray[Any], index: Index) -> NDArray[Any]:
    """Values by their last axis; ``take`` is some times as fast as an index of numbers."""
    return values[..., index] if isinstance(index, slice) else values.take(index, axis=-1)


class TarReplicates:
    """TAR of resampled probes with the threshold chosen again, for one set of searches.

    Args:
        searches: the probes.
        trial: which probes are impostor trials, bool ``(P,)``.
    """

    def __init__(self, searches: Searches, trial: NDArray[np.bool_]) -> None:
        probes = np.flatnonzero(trial)
        order = np.argsort(-searches.impostor[probes], kind="stable")
        self._trials, self._trial = _range_or(probes), probes[order]
        self._impostor = searches.impostor[self._trial]
        hits = np.flatnonzero(searches.hit)
        self._hit = hits[np.argsort(-searches.mate[hits], kind="stable")]
        self._minus_mate = -searches.mate[self._hit]
        self._mated = _range_or(np.flatnonzero(searches.mated))

    def rates(self, weights: NDArray[np.int32], fars: Sequence[float]) -> dict[float, Float64]:
        """TAR of each sample at each FAR, float64 ``(b,)``; weights int32 ``(b, P)``.

        The probes are put into order once for all FARs.
        """
        trials = _taken(weights, self._trials).sum(axis=1)
        edges = self._edges(weights, trials, fars)
        accepted = {
            far: np.searchsorted(self._minus_mate, -edge, side="left")
            for far, edge in edges.items()
        }
        total = np.maximum(_taken(weights, self._mated).sum(axis=1), 1)
        hits = weights.take(self._hit, axis=1)
        found: dict[float, Float64] = {}
        done, counted = 0, np.zeros(len(weights), np.int64)  # hits that all samples accept so far
        for far in sorted(accepted, key=lambda each: int(accepted[each].min(initial=0))):
            places = accepted[far]
            first, last = int(places.min(initial=0)), int(places.max(initial=0))
            counted = counted + hits[:, done:first].sum(axis=1)
            done = first
            beyond = np.zeros((len(weights), last - first + 1), np.int64)
            np.cumsum(hits[:, first:last], axis=1, out=beyond[:, 1:])
            found[far] = (counted + beyond[np.arange(len(weights)), places - first]) / total
        return found

    def _edges(
        self, weights: NDArray[np.int32], trials: NDArray[np.int64], fars: Sequence[float]
    ) -> dict[float, Float32]:
        """The score that must be exceeded at each FAR, ``(b,)``."""
        size, deepest = self._trial.size, max(fars)
        reach = min(size, int(1.5 * deepest * size) + 200)  # nearly always deep enough
        while True:
            top = weights.take(self._trial[:reach], axis=1)
            cumulative = np.cumsum(top, axis=1, dtype=np.int64)
            allowed = {far: np.floor(far * trials + 1e-9).astype(np.int64) for far in fars}
            if reach == size or (cumulative[:, -1] > allowed[deepest]).all():
                return {far: self._edge(cumulative, allowed[far]) for far in fars}
            reach = size

    def _edge(self, cumulative: NDArray[np.int64], allowed: NDArray[np.int64]) -> Float32:
        """The score that must be exceeded; -inf where the budget covers every trial."""
        reach = cumulative.shape[1]
        if reach == 0:
            return np.full(len(cumulative), -np.inf, np.float32)
        place = np.empty(len(allowed), np.int64)
        for sample, most in enumerate(allowed):
            place[sample] = np.searchsorted(cumulative[sample], most, side="right")
        edge: Float32 = self._impostor[np.minimum(place, reach - 1)]
        edge[place >= reach] = -np.inf
        return edge


def percentile_interval(replicates: Float64, confidence: float) -> tuple[float, float]:
    """Percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13)."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return float(low), float(high)


def beyond_the_sample(far: float, trials: int, confidence: float) -> bool:
    """Whether the true threshold may well lie above every trial, where no resample can look.

    No trial reaches the true threshold with probability ``exp(-far * trials)``; when that is more
    than the interval's tail, its lower end needs a model of the impostors' tail. Trials of one
    identity count once here: they may all stay below together.
    """
    return math.exp(-far * trials) > (1 - confidence) / 2


def highest_threshold(descending: Float32, far: float, confidence: float) -> float:
    """Upper confidence bound of the true threshold, from an exponential tail.

    The excess of the top m trials over the next one is taken as exponential with mean s (the
    peaks-over-threshold estimate with shape 0: Coles, An Introduction to Statistical Modeling of
    Extreme Values, 2001, chapter 4): the level with ``far * n`` trials above it is then
    ``d[m] + s ln(m / (far n))``. The upper ends of d[m] (standard error s / sqrt(m)) and of s
    (a gamma quantile, by Wilson and Hilferty, PNAS 17, 1931) are joined by squares (MOVER: Zou and
    Donner, Statistics in Medicine 27, 2008).

    Args:
        descending: impostor scores, largest first.
        far: the target, above 0.
        confidence: of the two-sided interval whose upper end this is.

    Returns:
        The bound, at least the highest trial and at most 1 (the highest score there is).
    """
    top = min(_TAIL, descending.size - 1)
    if top < 2:
        return 1.0
    base = float(descending[top])
    excess = float(descending[:top].astype(np.float64).mean()) - base
    reach = math.log(top / (far * descending.size))
    step = normal_quantile(confidence) / math.sqrt(top)
    gamma = max(0.1, 1 - 1 / (9 * top) - step / 3) ** 3
    half = excess * math.hypot(step, reach * (1 / gamma - 1))
    return min(1.0, max(float(descending[0]), base + excess * reach + half))
