"""One definition of a score, to the last bit, whatever machine, tile or thread computes it.

A template is ``x = float32(f / ||f||)`` and a score is ``float32(sum_k p_k * g_k)``. Both sums are
*exactly rounded* (as ``math.fsum``): products of two float32 are exact in float64, so the only
freedom left is the order of summation, and an exactly rounded sum has none.

An exactly rounded sum of every pair would be slow. Instead a plain float64 sum is certified: any
summation order errs by at most ``D * 2**-53 * sum|p_k g_k|`` (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., section 4.2), so when both ends of that interval round to the same
float32, that float32 is the exactly rounded one. About one pair in 100,000 is left for ``fsum``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

ZERO_NORM = 1e-12
"""A row whose norm is below this is no feature: an image never written, or a dead board."""

_SLACK = 1.01  # norms of rounded templates exceed 1 by up to 2**-24; higher-order terms
_CHUNK = 256  # rows widened to float64 at a time; they stay in a processor's cache
_EXTRA = 4  # roundings of the comparison itself


def error64(dim: int) -> float:
    """Bound of a float64 dot of two templates of ``dim`` values, for any summation order."""
    return (dim + _EXTRA) * 2.0**-53 * _SLACK


def error32(dim: int) -> float:
    """Bound of a float32 dot of two templates, fused or not, for any summation order."""
    return (dim + _EXTRA) * 2.0**-24 * _SLACK


def exact_norm(row: NDArray[Any]) -> float:
    """Norm of one row from an exactly rounded sum of squares."""
    wide = row.astype(np.float64)
    return math.sqrt(math.fsum((wide * wide).tolist()))


def normalize(rows: NDArray[Any]) -> tuple[Float32, Float64]:
    """Unit rows and the norms they had.

    Args:
        rows: float32 or float64 ``(n, D)``.

    Returns:
        float32 ``(n, D)`` and float64 ``(n,)``. A row that is zero or not finite comes back
        unusable, with its norm (0, NaN or Inf) telling why: the caller knows its name.
    """
    count, dim = rows.shape
    unit, lengths = np.empty(rows.shape, np.float32), np.empty(count)
    buffers = np.empty((2, min(_CHUNK, count), dim))
    for start in range(0, count, _CHUNK):
        part = slice(start, min(start + _CHUNK, count))
        wide, scratch = buffers[:, : part.stop - start]
        np.copyto(wide, rows[part])
        lengths[part] = _normalize_chunk(wide, unit[part], scratch)
    return unit, lengths


def _normalize_chunk(wide: Float64, unit: Float32, scratch: Float64) -> Float64:
    """Fill ``unit`` and return lower bounds of the norms, float64 ``(n,)``.

    A float64 quotient ``x / norm`` lies between ``x * least`` and that times ``more``, roundings
    included: multiplying and rounding keep order, ``least`` is below ``1 / norm``, and ``more``
    exceeds the two bounds' ratio. Where both ends round to the same float32, that is it.
    """
    slack = error64(wide.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):  # unusable rows only
        squares: Float64 = np.vecdot(wide, wide)
    low, high = np.sqrt(squares * (1 - slack)), np.sqrt(squares * (1 + slack))
    usable = np.isfinite(low) & (low >= ZERO_NORM)
    least = np.where(usable, (1 - 2.0**-51) / np.where(usable, high, 1.0), 1.0)
    more = 1 + 1.01 * slack + 2.0**-49
    with np.errstate(invalid="ignore", over="ignore"):
        np.multiply(wide, least[:, None], out=scratch)
        np.copyto(unit, scratch, casting="same_kind")
        scratch *= more
        differs = unit != scratch.astype(np.float32)
    if differs.any():
        for index in np.flatnonzero(usable & differs.any(axis=1)):
            unit[index] = (wide[index] / exact_norm(wide[index])).astype(np.float32)
    return low


def round_sums(sums: Float64, dim: int) -> tuple[Float32, NDArray[np.bool_]]:
    """Float32 of certified sums, and where the certificate fails (then the value is no answer)."""
    slack = error64(dim)
    low = (sums - slack).astype(np.float32)
    return low, low != (sums + slack).astype(np.float32)


def exact_score(probe: Float32, template: Float32) -> np.float32:
    """The defined score of one pair, by ``math.fsum``."""
    products = probe.astype(np.float64) * template.astype(np.float64)
    return np.float32(math.fsum(products.tolist()))


def pair_scores(probes: Float32, templates: Float32) -> Float32:
    """The defined score of row i of ``probes`` with row i of ``templates``.

    Args:
        probes: unit rows, float32 ``(n, D)``.
        templates: unit rows, float32 ``(n, D)``.

    Returns:
        float32 ``(n,)``, equal to ``exact_score`` of each pair.
    """
    sums: Float64 = np.einsum("ij,ij->i", probes.astype(np.float64), templates.astype(np.float64))
    scores, unsure = round_sums(sums, probes.shape[1])
    for index in np.flatnonzero(unsure):
        scores[index] = exact_score(probes[index], templates[index])
    return scores


def chosen_scores(
    probes: Float32, templates: Float32, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> Float32:
    """The defined scores of chosen pairs of a block.

    Args:
        probes: unit rows, float32 ``(p, D)``.
        templates: unit rows, float32 ``(t, D)``.
        rows: index into ``probes``, ``(n,)``.
        columns: index into ``templates``, ``(n,)``.

    Returns:
        float32 ``(n,)``. Many pairs (a dead board makes every pair a tie) are taken from one
        float64 matrix product, few are gathered.
    """
    if rows.size > probes.shape[0] * templates.shape[0] // 64:
        product = probes.astype(np.float64) @ templates.astype(np.float64).T
        scores, unsure = round_sums(product[rows, columns], probes.shape[1])
        for index in np.flatnonzero(unsure):
            scores[index] = exact_score(probes[rows[index]], templates[columns[index]])
        return scores
    result = np.empty(rows.size, np.float32)
    step = 2048
    for start in range(0, rows.size, step):
        part = slice(start, start + step)
        result[part] = pair_scores(probes[rows[part]], templates[columns[part]])
    return result
