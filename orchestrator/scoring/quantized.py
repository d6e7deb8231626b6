"""Unit rows as small integers, with a proved bound of what that costs.

Rows are turned by a fixed orthogonal matrix first: it keeps every score and spreads a few large
values over all places, so that a common scale fits. The turn is two Hadamard products (one over
pairs of short axes), whose float32 rounding is bounded by ``turn_error``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.exact import Float32, Float64
from orchestrator.scoring.integer_product import WEIGHT_LIMIT, ZERO, Int8, Uint8

_PROBE_LIMIT = 127
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
    """Turned probes as ``scale * (values - 128)``, one scale a probe.

    Attributes:
        values: uint8 ``(P, D)``.
        scale: float64 ``(P,)``.
        length: norm of ``scale * (values - 128)``, float64 ``(P,)``.
        error: norm of what quantization dropped, float64 ``(P,)``.
    """

    values: Uint8
    scale: Float64
    length: Float64
    error: Float64


def quantize_probes(unit: Float32, turn: Turn) -> QuantizedProbes:
    """Quantize unit rows, float32 ``(P, D)``."""
    count = len(unit)
    values = np.empty(unit.shape, np.uint8)
    scale, length, error = np.empty(count), np.empty(count), np.empty(count)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        turned = turn(unit[part]).astype(np.float64)
        scale[part] = np.abs(turned).max(axis=1) / _PROBE_LIMIT
        whole = np.rint(turned / scale[part, None])
        values[part] = (whole + ZERO).astype(np.uint8)
        whole *= scale[part, None]
        length[part] = _norms(whole)
        error[part] = _norms(turned - whole)
    return QuantizedProbes(values, scale, length, error)


@dataclass(frozen=True)
class QuantizedTile:
    """Turned templates as ``scale * values``, one scale for all.

    Attributes:
        values: int8 ``(size, D)`` within +-64; rows beyond the templates are 0.
        scale: the common scale.
        error: the largest norm, over the templates, of what quantization dropped.
    """

    values: Int8
    scale: float
    error: float


def quantize_tile(turned: Float32, size: int) -> QuantizedTile:
    """Quantize turned templates, float32 ``(t, D)``, into ``size`` rows.

    The bound is best when their largest values are alike. All is float32; `_dropped` bounds what
    that rounds.
    """
    scale = np.abs(turned).max() / np.float32(WEIGHT_LIMIT)
    values = np.zeros((size, turned.shape[1]), np.int8)
    worst = 0.0
    for start in range(0, len(turned), _FEW):
        rows = turned[start : start + _FEW]
        whole = rows / scale  # the largest exceeds 64 by its rounding, which `rint` takes away
        np.rint(whole, out=whole)
        values[start : start + len(rows)] = whole
        whole *= scale
        np.subtract(rows, whole, out=whole)
        worst = max(worst, _dropped(whole))
    return QuantizedTile(values, float(scale), worst)


def _dropped(found: Float32) -> float:
    """The largest norm of ``x - q s``, from what float32 makes of it for turned unit rows ``x``.

    With u = 2**-24, the product ``q s`` errs by at most ``u |q s|`` and the difference by
    ``u |x - q s|`` more, each value on its own, so the norm by ``u (|x| + 3 |x - q s|)``; a sum of
    D squares errs by at most ``(D + 2) u`` of itself (Higham, section 4.2). ``|x|`` is 1 but for
    ``turn_error``; what float32 cannot hold of tiny squares is below the constant's last digit.
    """
    squares = float(np.einsum("ij,ij->i", found, found).max())
    norm: float = math.sqrt(squares) * (1 + (found.shape[1] + 8) * 2.0**-24)
    return norm + 1.02 * 2.0**-24


def _norms(rows: Float64) -> Float64:
    """Norms, rounded up."""
    result: Float64 = np.sqrt(np.einsum("ij,ij->i", rows, rows)) * (1 + _ROUNDING)
    return result


def score_slack(
    probes: QuantizedProbes, tile: QuantizedTile, rows: NDArray[np.intp] | slice
) -> Float64:
    """How far the true score can lie above ``scales * integer score``, float64 ``(p,)``.

    With turned rows p = P + dp and g = G + dg (P, G what the integers stand for):
    ``p.g = P.G + P.dg + dp.g <= P.G + |P| |dg| + |dp| |g|`` (Cauchy-Schwarz), and turning itself
    moves p.g by at most ``2 * turn_error`` (and a product of two such errors).
    """
    turn = turn_error(probes.values.shape[1])
    return probes.length[rows] * tile.error + probes.error[rows] * (1 + 2 * turn) + 2.1 * turn
