"""Counting float32 values into equal bins, several times faster than numpy.histogram.

The result equals `numpy.histogram(values, bins, range=(-t, t))` count for count: bins are
found by one multiplication, and only values so near to an edge that float32 rounding could
decide otherwise are compared with the edges themselves.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# Values are taken in pieces that stay in a core's cache through all steps.
_PIECE = 1 << 15

# Bins from an edge within which a value is compared. Edges and scaled values are off by at most
# some 2^-22 of the whole range: a thousandth of a bin at 4096 bins.
_NEAR = np.float32(0.01)
MAX_BINS = 16384


class Histogrammer:
    """Counts of one shape, with working memory that is used again."""

    def __init__(self, bins: int) -> None:
        if not 2 <= bins <= MAX_BINS:
            raise ValueError(f"bins is {bins}, expected 2 to {MAX_BINS}")
        self._bins = bins
        self._scaled = np.empty(_PIECE, np.float32)
        self._fraction = np.empty(_PIECE, np.float32)
        self._index = np.empty(_PIECE, np.intp)

    def add(self, values: Floats, edges: Floats, counts: npt.NDArray[np.int64]) -> None:
        """Count `values`, all within the outer edges, into `counts`, in place.

        Args:
            values: float32, any shape.
            edges: float32 (bins + 1,), equal bins.
            counts: int64 (bins,).
        """
        flat = values.reshape(-1)
        first, last = edges[0], edges[-1]
        factor = np.float32(self._bins / (np.float64(last) - np.float64(first)))
        for start in range(0, flat.size, _PIECE):
            piece = flat[start : start + _PIECE]
            size = piece.size
            scaled, index = self._scaled[:size], self._index[:size]
            fraction = self._fraction[:size]
            np.subtract(piece, first, out=scaled)
            np.multiply(scaled, factor, out=scaled)
            np.rint(scaled, out=fraction)
            np.subtract(scaled, fraction, out=fraction)
            np.abs(fraction, out=fraction)
            np.copyto(index, scaled, casting="unsafe")
            np.minimum(index, self._bins - 1, out=index)
            near = np.flatnonzero(fraction < _NEAR)
            if near.size:
                exact = np.searchsorted(edges, piece[near], side="right") - 1
                index[near] = np.clip(exact, 0, self._bins - 1)
            counts += np.bincount(index, minlength=self._bins)
