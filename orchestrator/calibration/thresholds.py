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
    sums = np.concatenate(([0], np.cumsum(counts)))
    filled = np.concatenate(([0], np.cumsum(counts != 0)))
    best, best_divergence = half, float("inf")
    for reach in range(half, centre + 1):
        start, end = centre - reach, min(centre + reach + 1, bins)
        divergence = _divergence(counts, sums, filled, start, end, levels)
        # The first of equal candidates wins, as with numpy.argmin.
        if divergence < best_divergence:
            best, best_divergence = reach, divergence
    return _within(edges[centre - best], edges[min(centre + best + 1, bins)], lowest, highest)


def _divergence(
    counts: Counts, sums: Counts, filled: Counts, start: int, end: int, levels: int
) -> float:
    """KL divergence of the clipped distribution from its `levels`-level version."""
    reference = counts[start:end].copy()
    reference[0] += sums[start]
    reference[-1] += sums[-1] - sums[end]
    size = end - start
    width = size // levels
    marks = np.arange(start, start + levels * width + 1, width)
    merged = np.diff(sums[marks])
    merged[-1] += sums[end] - sums[marks[-1]]
    present = np.diff(filled[marks])
    # Outliers fill an outer bin that was empty, and that bin then counts as filled.
    present[0] += int(counts[start] == 0 and reference[0] != 0)
    if marks[-1] == end:
        present[-1] += int(size > 1 and counts[end - 1] == 0 and reference[-1] != 0)
    level = np.zeros(levels, np.int64)
    np.floor_divide(merged, present, out=level, where=present != 0)
    candidate = np.zeros(size, np.int64)
    candidate[: levels * width] = np.repeat(level, width)
    p, q = _smooth(reference), _smooth(candidate)
    if p is None or q is None:
        return float("inf")
    p = 1.0 * p / np.sum(p, axis=0, keepdims=True)
    q = 1.0 * q / np.sum(q, axis=0, keepdims=True)
    return float(np.sum(p * np.log(p / q), axis=0))


def _smooth(counts: Counts) -> Floats | None:
    """Counts with a little taken from the filled bins for the empty ones; None if all are."""
    empty = counts == 0
    zeros = int(np.count_nonzero(empty))
    nonzeros = counts.size - zeros
    if not nonzeros:
        return None
    share = _EPSILON * float(zeros) / float(nonzeros)
    smoothed = counts.astype(np.float32)
    smoothed += np.where(empty, np.float32(_EPSILON), np.float32(-share))
    return smoothed


def _within(left: np.float32, right: np.float32, low: np.float32, high: np.float32) -> Range:
    return (low if left < low else left, high if right > high else right)
