"""Clipping ranges from histograms: percentile and entropy (Kullback-Leibler).

Both give, to the last bit, what `onnxruntime.quantization.calibrate.HistogramCollector` gives
for the same histogram, so that a difference in accuracy is never one of definition. The
entropy search is arranged by candidate slices over prefix sums instead of element by element,
and takes many tensors at once.

Source of the method: S. Migacz, "8-bit inference with TensorRT", GTC 2017; of the details
(outliers added to the outer bins, smoothing by 1e-4, the truncation to whole counts): MXNet's
quantization module, which onnxruntime follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Range = tuple[np.float32, np.float32]

_EPSILON = 0.0001
_SMALL = np.float32(_EPSILON)

# Ranges so small that float32 cannot divide them into bins count as zero.
_NOTHING = np.float32(1e-30)

# Histograms that the entropy search takes at once: working memory that a core's cache holds.
_TOGETHER = 32


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
    counts: Counts, edges: Sequence[Floats], lowest: Floats, highest: Floats, levels: int
) -> list[Range]:
    """Each tensor's range around zero whose `levels`-level version is nearest to its distribution.

    Args:
        counts: int64 (tensors, bins).
        edges: float32 (bins + 1,) of each tensor.
        lowest, highest: float32 (tensors,), exact extremes; no range exceeds them.
        levels: quantized bins; fewer than `bins`, or the search has one candidate only.
    """
    bins = counts.shape[1]
    centre = bins // 2
    reaches = np.concatenate(
        [
            _nearest(counts[start : start + _TOGETHER], levels)
            for start in range(0, len(counts), _TOGETHER)
        ]
    )
    return [
        _within(edge[centre - reach], edge[min(centre + reach + 1, bins)], low, high)
        for edge, reach, low, high in zip(edges, reaches, lowest, highest, strict=True)
    ]


def _nearest(counts: Counts, levels: int) -> npt.NDArray[np.int64]:
    """How many bins each side of the centre the best candidate of each row of `counts` keeps."""
    bins = counts.shape[1]
    centre, half = bins // 2, levels // 2
    divergence = _Divergence(counts, levels)
    best = np.full(len(counts), half, np.int64)
    best_value = np.full(len(counts), np.inf, np.float32)
    for reach in range(half, centre + 1):
        value = divergence.of(centre - reach, min(centre + reach + 1, bins))
        # The first of equal candidates wins, as with numpy.argmin.
        better = value < best_value
        best[better] = reach
        np.copyto(best_value, value, where=better)
    return best


class _Divergence:
    """KL divergences of clipped versions of histograms from their quantized versions.

    The quantized version gives every bin of a level the mean count of the level's filled bins,
    rounded down. Everything that does not depend on the candidate is computed once. Histograms
    are rows and are taken together; sums go along a row, in the order of a row alone.
    """

    def __init__(self, counts: Counts, levels: int) -> None:
        self._counts = counts
        self._levels = levels
        self._empty = counts == 0
        # An empty bin has `_SMALL` and gives nothing.
        self._floats = np.where(self._empty, _SMALL, counts.astype(np.float32))
        self._gives = (~self._empty).astype(np.float32)
        nothing = np.zeros((len(counts), 1), np.int64)
        self._sums = np.concatenate((nothing, np.cumsum(counts, axis=1)), axis=1)
        self._filled = np.concatenate((nothing, np.cumsum(counts != 0, axis=1)), axis=1)
        self._total = self._sums[:, -1]
        self._p, self._q = np.empty_like(self._floats), np.empty_like(self._floats)

    def of(self, start: int, end: int) -> Floats:
        """float32 (rows,): with only bins start..end kept and the rest in the outer ones."""
        size = end - start
        first = self._counts[:, start] + self._sums[:, start]
        last = self._counts[:, end - 1] + self._total - self._sums[:, end]
        # Outliers fill an outer bin that was empty, which then counts as filled.
        first_new = self._empty[:, start] & (first > 0)
        last_new = self._empty[:, end - 1] & (last > 0) & (size > 1)
        filled = self._filled[:, end] - self._filled[:, start] + first_new + last_new
        share = _share(size - filled, filled)
        p = self._p[:, :size]
        np.multiply(self._gives[:, start:end], share[:, None], out=p)
        np.subtract(self._floats[:, start:end], p, out=p)
        for position, count in ((0, first), (size - 1, last)):
            np.copyto(p[:, position], count.astype(np.float32) - share, where=count > 0)
        q, quantized = self._quantized(start, end, first_new, last_new)
        p /= np.add.reduce(p, axis=1)[:, None]
        q /= np.add.reduce(q, axis=1)[:, None]
        np.divide(p, q, out=q)
        np.log(q, out=q)
        q *= p
        return np.where(quantized & (filled > 0), np.add.reduce(q, axis=1), np.float32(np.inf))

    def _quantized(
        self, start: int, end: int, first_new: Flags, last_new: Flags
    ) -> tuple[Floats, Flags]:
        """The quantized versions, float32 (rows, size), and whether a row has one."""
        levels, size = self._levels, end - start
        width = size // levels
        stop = start + levels * width
        merged = np.diff(self._sums[:, start : stop + 1 : width], axis=1)
        merged[:, -1] += self._sums[:, end] - self._sums[:, stop]
        present = np.diff(self._filled[:, start : stop + 1 : width], axis=1)
        none_of_its_own = present[:, -1] == 0
        present[:, 0] += first_new
        if stop == end:
            present[:, -1] += last_new
        np.maximum(present, 1, out=present)  # a level without filled bins has no counts either
        level = merged // present
        if stop != end:
            # Counts of the rest, but no filled bin of its own to hold them.
            level[none_of_its_own, -1] = 0
        hollow = level == 0
        zeros = np.count_nonzero(hollow, axis=1) * width + size - levels * width
        smooth = level.astype(np.float32) - _share(zeros, size - zeros)[:, None]
        np.copyto(smooth, _SMALL, where=hollow)
        q = self._q[:, :size]
        q[:, : levels * width].reshape(-1, levels, width)[:] = smooth[:, :, None]
        q[:, levels * width :] = _SMALL
        return q, zeros < size


def _share(empty: Counts, filled: Counts) -> Floats:
    """What each filled bin gives, so that every empty one may have `_EPSILON`."""
    return (_EPSILON * empty / np.maximum(filled, 1)).astype(np.float32)


def _within(left: np.float32, right: np.float32, low: np.float32, high: np.float32) -> Range:
    return (low if left < low else left, high if right > high else right)
