"""Clipping ranges from histograms: percentile and entropy (Kullback-Leibler).

Both give, to the last bit, what `onnxruntime.quantization.calibrate.HistogramCollector` gives
for the same histogram, so that a difference in accuracy is never one of definition. The
entropy search is arranged by candidate slices over prefix sums instead of element by element.

Source of the method: S. Migacz, "8-bit inference with TensorRT", GTC 2017; of the details
(outliers added to the outer bins, smoothing by 1e-4, the truncation to whole counts): MXNet's
quantization module, which onnxruntime follows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
Range = tuple[np.float32, np.float32]

_EPSILON = 0.0001
_SMALL = np.float32(_EPSILON)

# Ranges so small that float32 cannot divide them into bins count as zero.
_NOTHING = np.float32(1e-30)


def bin_edges(lowest: np.float32, highest: np.float32, bins: int) -> Floats:
    """float32 (bins + 1,): equal bins over [-t, t], t = max(|lowest|, |highest|)."""
    top = np.float32(max(abs(lowest), abs(highest)))
    if top < _NOTHING:
        top = np.float32(0.0)  # numpy takes [-0.5, 0.5] then
    # float32 limits, not Python floats: numpy then computes the edges in float32, as stock does.
    limits: Any = (-top, top)
    return np.histogram_bin_edges(np.zeros(1, np.float32), bins, range=limits)


def percentile(
    counts: Counts, edges: Floats, lowest: np.float32, highest: np.float32, percent: float
) -> Range:
    """The range that keeps `percent` of the values, both tails cut alike.

    Args:
        counts: int64 (bins,).
        edges: float32 (bins + 1,).
        lowest, highest: exact extremes; the range never exceeds them.
        percent: 0 to 100.
    """
    cumulative = np.cumsum(counts / counts.sum())
    tail = (100.0 - percent) / 200.0
    right = edges[np.searchsorted(cumulative, 1.0 - tail)]
    left = edges[np.searchsorted(cumulative, tail)]
    return _within(left, right, lowest, highest)


def entropy(
    counts: Counts, edges: Floats, lowest: np.float32, highest: np.float32, levels: int
) -> Range:
    """The range around zero whose `levels`-level version is nearest to the distribution.

    Args:
        counts: int64 (bins,).
        edges: float32 (bins + 1,).
        lowest, highest: exact extremes; the range never exceeds them.
        levels: quantized bins; fewer than `bins`, or the search has one candidate only.
    """
    bins = counts.size
    centre, half = bins // 2, levels // 2
    divergence = _Divergence(counts, levels)
    best, best_value = half, np.float32(np.inf)
    for reach in range(half, centre + 1):
        value = divergence.of(centre - reach, min(centre + reach + 1, bins))
        # The first of equal candidates wins, as with numpy.argmin.
        if value < best_value:
            best, best_value = reach, value
    return _within(edges[centre - best], edges[min(centre + best + 1, bins)], lowest, highest)


class _Divergence:
    """KL divergence of clipped versions of one histogram from their quantized versions.

    The quantized version gives every bin of a level the mean count of the level's filled bins,
    rounded down. Everything that does not depend on the candidate is computed once.
    """

    def __init__(self, counts: Counts, levels: int) -> None:
        self._counts = counts
        self._levels = levels
        self._floats = counts.astype(np.float32)
        self._empty = counts == 0
        self._sums = np.concatenate(([0], np.cumsum(counts)))
        self._filled = np.concatenate(([0], np.cumsum(counts != 0)))
        self._total = int(self._sums[-1])

    def of(self, start: int, end: int) -> np.float32:
        """Divergence when only bins start..end are kept and the rest goes to the outer ones."""
        levels, size = self._levels, end - start
        width = size // levels
        stop = start + levels * width
        first = int(self._counts[start] + self._sums[start])
        last = int(self._counts[end - 1]) + self._total - int(self._sums[end])
        # Outliers fill an outer bin that was empty, which then counts as filled.
        first_new = bool(self._empty[start]) and first > 0
        last_new = size > 1 and bool(self._empty[end - 1]) and last > 0
        filled = int(self._filled[end] - self._filled[start]) + first_new + last_new
        if not filled:
            return np.float32(np.inf)
        p = np.where(
            self._empty[start:end],
            _SMALL,
            self._floats[start:end] - _share(size - filled, filled),
        )
        for position, count in ((0, first), (size - 1, last)):
            if count:
                p[position] = np.float32(count) - _share(size - filled, filled)
        q = self._quantized(start, end, width, stop, first_new, last_new)
        if q is None:
            return np.float32(np.inf)
        p /= np.add.reduce(p)
        q /= np.add.reduce(q)
        np.divide(p, q, out=q)
        np.log(q, out=q)
        q *= p
        return np.float32(np.add.reduce(q))

    def _quantized(
        self, start: int, end: int, width: int, stop: int, first_new: bool, last_new: bool
    ) -> Floats | None:
        levels, size = self._levels, end - start
        marks = self._sums[start : stop + 1 : width]
        merged = marks[1:] - marks[:-1]
        merged[-1] += self._sums[end] - self._sums[stop]
        marks = self._filled[start : stop + 1 : width]
        present = marks[1:] - marks[:-1]
        present[0] += first_new
        if stop == end:
            present[-1] += last_new
        np.maximum(present, 1, out=present)  # a level without filled bins has no counts either
        level = merged // present
        if stop != end and not marks[-1] - marks[-2]:
            level[-1] = 0  # counts of the rest, but no filled bin of its own to hold them
        zeros = int(np.count_nonzero(level == 0)) * width + size - levels * width
        if zeros == size:
            return None
        share = _share(zeros, size - zeros)
        smooth = np.where(level == 0, _SMALL, level.astype(np.float32) - share)
        q = np.empty(size, np.float32)
        q[: levels * width].reshape(levels, width)[:] = smooth[:, None]
        q[levels * width :] = _SMALL
        return q


def _share(empty: int, filled: int) -> np.float32:
    """What each filled bin gives, so that every empty one may have `_EPSILON`."""
    return np.float32(_EPSILON * float(empty) / float(filled))


def _within(left: np.float32, right: np.float32, low: np.float32, high: np.float32) -> Range:
    return (low if left < low else left, high if right > high else right)
