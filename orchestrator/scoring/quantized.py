"""Directions of rows as small integers, with a proved bound of what that costs.

Rows are turned by a fixed orthogonal matrix first: it keeps every score and spreads a few large
values over all places, so that a common scale fits. The turn is two Hadamard products (one over
pairs of short axes), whose float32 rounding is bounded by ``turn_error``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.exact import Float32, Float64, error32
from orchestrator.scoring.integer_product import ZERO, Int8, Uint8

SEGMENT = 64
"""Templates of one scale; the highest score of each segment tells whether to look at all."""

_TEMPLATE_LIMIT = 127
_CHUNK = 1024
_FEW = 256  # rows that stay in a processor's cache
_ROUNDING = 1e-9  # of the float64 norms below


def _axes(dim: int) -> tuple[int, int]:
    """Two powers of two whose product is the largest power of two that divides ``dim``."""
    twos = (dim & -dim).bit_length() - 1
    return 2 ** ((twos + 1) // 2), 2 ** (twos // 2)


def turn_error(dim: int) -> float:
    """Bound of the Euclidean norm of what rounding adds to a turned unit row.

    A float32 product with an ``a x a`` matrix of +-1 errs by at most ``a * 2**-24`` times the
    product of absolute values, whose norm is at most ``a`` times the row's; the exact product's
    norm is ``sqrt(a)`` times it (Higham, section 3.5).
    """
    first, second = _axes(dim)
    return 1.01 * 2.0**-24 * (first * math.sqrt(first) + second * math.sqrt(second) + 4)


def _hadamard(size: int) -> Float32:
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


class Turn:
    """A fixed orthogonal matrix for rows of ``dim`` values, or none where none is needed.

    Args:
        sample: unit rows, float32 ``(n, dim)``: turning is left out when it would not make their
            largest values smaller by a tenth, as with features that are spread already.
    """

    def __init__(self, sample: Float32) -> None:
        dim = sample.shape[1]
        random = np.random.default_rng(dim)
        self._first, self._second = _axes(dim)
        self._sign = random.choice(np.array([-1, 1], np.float32), dim)
        # One Hadamard matrix reaches every place only when the dimension is a power of two.
        whole = self._first * self._second == dim
        self._place = None if whole else random.permutation(dim)
        self._left = _hadamard(self._first)
        self._right = _hadamard(self._second)
        self._scale = np.float32(1 / math.sqrt(self._first * self._second))
        self.used = True
        turned = np.abs(self(sample)).max(axis=1).mean()
        self.used = bool(turned < 0.9 * np.abs(sample).max(axis=1).mean())

    def __call__(self, rows: Float32) -> Float32:
        """Turned rows, float32 ``(n, dim)``; the rows themselves where turning is left out."""
        if not self.used:
            return rows
        turned = rows * self._sign
        if self._place is not None:
            turned = turned[:, self._place]
        mixed = turned.reshape(-1, self._first) @ self._left
        mixed = mixed.reshape(-1, self._second, self._first).swapaxes(1, 2)
        result: Float32 = mixed.reshape(-1, self._second) @ self._right
        result *= self._scale
        return result.reshape(rows.shape)


@dataclass(frozen=True)
class QuantizedProbes:
    """Turned probes as ``scale * values``, one scale a probe.

    Attributes:
        values: int8 ``(P, D)``.
        scale: float64 ``(P,)``.
        length: norm of ``scale * values``, float64 ``(P,)``.
        error: norm of what quantization dropped, float64 ``(P,)``.
    """

    values: Int8
    scale: Float64
    length: Float64
    error: Float64


def quantize_probes(unit: Float32, turn: Turn, limit: int) -> QuantizedProbes:
    """Quantize unit rows, float32 ``(P, D)``, into integers within +-``limit``."""
    count = len(unit)
    values = np.empty(unit.shape, np.int8)
    scale, length, error = np.empty(count), np.empty(count), np.empty(count)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        turned = turn(unit[part]).astype(np.float64)
        scale[part] = np.abs(turned).max(axis=1) / limit
        whole = np.rint(turned / scale[part, None])
        values[part] = whole.astype(np.int8)
        whole *= scale[part, None]
        length[part] = _norms(whole)
        error[part] = _norms(turned - whole)
    return QuantizedProbes(values, scale, length, error)


@dataclass(frozen=True)
class Extents:
    """How long rows are, about, and how far they reach.

    Attributes:
        inverse: 1 / norm within ``inverse_error``, float64 ``(n,)``.
        peak: largest absolute value, float32 ``(n,)``.
        safe: whether float32 holds the squares of all rows well: none is zero, not finite, or
            so small or large that its squares are lost.
    """

    inverse: Float64
    peak: Float32
    safe: bool


_SAFE_SQUARES = 1e-18, 1e30


def inverse_error(dim: int) -> float:
    """Relative bound of ``Extents.inverse``: a sum of D squares errs by D * 2**-24 of itself."""
    return 0.51 * (dim + 4) * 2.0**-24


def measure(rows: Float32) -> Extents:
    """Lengths and peaks of rows, float32 ``(n, D)``, from one reading of them."""
    count, dim = rows.shape
    squares, peak = np.empty(count, np.float32), np.empty(count, np.float32)
    sizes = np.empty((min(_FEW, count), dim), np.float32)
    bits = sizes.view(np.int32)  # in the order of the sizes, and quicker to compare
    for start in range(0, count, _FEW):
        part = slice(start, min(start + _FEW, count))
        few = slice(part.stop - start)
        with np.errstate(over="ignore", invalid="ignore"):  # such rows are not safe
            np.vecdot(rows[part], rows[part], out=squares[part])
        np.absolute(rows[part], out=sizes[few])
        np.max(bits[few], axis=1, out=peak[part].view(np.int32))
    low, high = _SAFE_SQUARES
    safe = bool(((squares >= low) & (squares <= high)).all())
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse: Float64 = 1 / np.sqrt(squares.astype(np.float64))
    return Extents(inverse, peak, safe)


@dataclass(frozen=True)
class QuantizedTile:
    """Turned directions of templates as ``scale * (values - 128)``, one scale a segment.

    Attributes:
        values: uint8 ``(size, D)``; rows beyond the templates stand for 0.
        scale: float64 ``(size / SEGMENT,)``.
        error: the largest norm, over the templates of a segment, of what quantization dropped,
            float64 ``(size / SEGMENT,)``.
    """

    values: Uint8
    scale: Float64
    error: Float64


def padded(count: int) -> int:
    """Templates of a tile, filled up to whole segments."""
    return -(-count // SEGMENT) * SEGMENT


def quantize_tile(turned: Float32, extents: Extents, chosen: NDArray[np.intp]) -> QuantizedTile:
    """Quantize the directions of chosen rows of ``turned``, float32 ``(n, D)``.

    The rows need no unit length: it only enters the factor that makes integers of them. The bound
    is best when neighbours' largest values are alike.

    Args:
        turned: safe rows after ``Turn``.
        extents: of ``turned``.
        chosen: ``(t,)``.
    """
    count, dim = chosen.size, turned.shape[1]
    size = padded(count)
    inverse = extents.inverse[chosen]
    starts = np.arange(0, count, SEGMENT)
    scale = np.maximum.reduceat(inverse * extents.peak[chosen], starts) / _TEMPLATE_LIMIT
    factor = (inverse / np.repeat(scale, SEGMENT)[:count]).astype(np.float32)[:, None]
    values = np.full((size, dim), ZERO, np.uint8)
    squares = np.empty(count, np.float32)
    buffers = np.empty((2, min(SEGMENT, count), dim), np.float32)
    for start in range(0, count, SEGMENT):
        part = slice(start, min(start + SEGMENT, count))
        scaled, whole = buffers[:, : part.stop - start]
        np.take(turned, chosen[part], axis=0, out=scaled, mode="clip")
        scaled *= factor[part]
        np.rint(scaled, out=whole)
        scaled -= whole
        np.vecdot(scaled, scaled, out=squares[part])
        whole += ZERO
        np.copyto(values[part], whole, casting="unsafe")
    dropped = np.maximum.reduceat(squares, starts).astype(np.float64)
    norm = np.sqrt(dropped) * (1 + (dim + 8) * 2.0**-24)
    return QuantizedTile(values, scale, scale * norm + _rounded(dim))


def _rounded(dim: int) -> float:
    """The largest norm of ``x / |x| - s w`` and of a template's own rounding, together.

    ``w`` is what ``quantize_tile`` makes of ``x`` before ``rint``, ``s`` the segment's scale. The
    factor misses ``1 / (s |x|)`` by ``inverse_error`` and its rounding to float32 (2**-24), each
    ``w`` is rounded once more, and a template is ``x / |x|`` rounded to float32. ``w - rint(w)``
    is exact, and a sum of D squares errs by at most ``(D + 2) * 2**-24`` of itself (Higham, section
    4.2). What turning does to ``x / |x|`` is counted in ``score_slack``.
    """
    return (inverse_error(dim) + 3 * 2.0**-24) * 1.01


def estimate_error(dim: int) -> float:
    """Bound of ``float32 dot of a unit row and x, times inverse`` beside the pair's true score.

    ``x`` is a template's row before ``Turn``, ``inverse`` is that of the turned row.
    """
    return error32(dim) + 1.01 * (inverse_error(dim) + turn_error(dim) + 2 * 2.0**-24)


def _norms(rows: Float64) -> Float64:
    """Norms, rounded up."""
    result: Float64 = np.sqrt(np.einsum("ij,ij->i", rows, rows)) * (1 + _ROUNDING)
    return result


@dataclass(frozen=True)
class Slack:
    """How far true scores can lie above ``scales * integer score``: ``length * tile's + rest``.

    Attributes:
        length: float64 ``(p,)``.
        rest: float64 ``(p,)``.
    """

    length: Float64
    rest: Float64

    def of(self, tile: QuantizedTile) -> Float64:
        """The bound of each segment and probe, float64 ``(segments, p)``."""
        result: Float64 = np.multiply.outer(tile.error, self.length)
        result += self.rest
        return result


def score_slack(probes: QuantizedProbes) -> Slack:
    """The part of the bound that does not depend on a tile.

    With turned rows p = P + dp and g = G + dg (P, G what the integers stand for):
    ``p.g = P.G + P.dg + dp.g <= P.G + |P| |dg| + |dp| |g|`` (Cauchy-Schwarz). Turning moves p by
    at most ``turn_error`` and g, whose length is that of the turned row, by twice that, and so
    moves p.g by at most three times that (and products of two such errors).
    """
    turn = turn_error(probes.values.shape[1])
    rest = probes.error * (1 + 2 * turn) + 3.1 * turn + _ROUNDING
    return Slack(probes.length, rest)
