"""Gallery templates made on demand from features, so that a 2 GB gallery is never copied."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.errors import ScoringError, UnusableRow
from orchestrator.scoring.exact import ZERO_NORM, Float32, normalize

Fusion = Literal["mean", "max"]

_FIXED_POINT = 2.0**48  # int64 holds the sum of 32,767 images of values up to 1
_MAX_IMAGES = 32_767


def check_matrix(features: Any, what: str, rows: int) -> None:
    """Refuse features that are not a float32 matrix of ``rows`` rows.

    Raises:
        ScoringError: another type, dtype, shape or row count.
    """
    if not isinstance(features, np.ndarray) or features.ndim != 2:
        raise ScoringError(f"{what}: features must be a two-dimensional numpy array")
    if features.dtype != np.float32:
        raise ScoringError(
            f"{what}: features must be float32, got {features.dtype}; "
            "quantized ones are converted by dequantize() with their scale and zero point"
        )
    if features.shape[0] != rows:
        raise ScoringError(f"{what}: {features.shape[0]} feature rows for {rows} identities")
    if features.shape[1] == 0:
        raise ScoringError(f"{what}: features have 0 columns")


def check_mask(mask: Any, what: str, rows: int) -> NDArray[np.bool_]:
    """The mask of failed rows as a bool array of ``rows``; None means that none failed."""
    if mask is None:
        return np.zeros(rows, bool)
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.shape != (rows,):
        raise ScoringError(
            f"{what}: the mask of failed rows must be {rows} booleans, "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array


def unit_rows(
    features: Float32, index: NDArray[np.intp] | slice, what: str, ids: NDArray[Any]
) -> Float32:
    """Chosen rows, normalized.

    Raises:
        UnusableRow: a row is zero or not finite; names set, row and identity.
    """
    unit, lengths = normalize(np.asarray(features[index]))
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths >= ZERO_NORM)))
    if bad.size:
        row = int(np.arange(features.shape[0])[index][bad[0]])
        reason = (
            "is zero (the model gives no feature for its image, or the image was never written)"
            if np.isfinite(lengths[bad[0]])
            else "holds NaN or Inf"
        )
        text = f"{what}: feature row {row} (identity {ids[row]}) {reason}"
        raise UnusableRow(text, what, row)
    return unit


class Templates:
    """The gallery as the search sees it: rows without failed images, several images fused.

    ``mean``: one template an identity, the normalized mean of its normalized images; the mean is
    summed in fixed point, so the order of the images cannot move a bit. ``max``: every image is a
    template and the identity's score is the best over them; an identity's templates are adjacent.

    Attributes:
        count: number of templates.
        owner: each template's identity code, ``(count,)``, ascending under ``max``.
        present: whether each gallery identity has a template at all, ``(N,)``.
    """

    def __init__(
        self,
        features: Float32,
        ids: NDArray[Any],
        codes: NDArray[np.intp],
        identities: int,
        failed: NDArray[np.bool_],
        fusion: Fusion,
    ) -> None:
        self._features = features
        self._ids = ids
        rows = np.flatnonzero(~failed)
        if rows.size == 0:
            raise ScoringError(f"gallery: all {failed.size} images failed")
        counts = np.bincount(codes[rows], minlength=identities)
        self.present: NDArray[np.bool_] = counts > 0
        self.several = bool((counts > 1).any())
        self._fused = self.several and fusion == "mean"
        if self.several:
            rows = rows[np.argsort(codes[rows], kind="stable")]
        if self._fused:
            if counts.max() > _MAX_IMAGES:
                raise ScoringError(
                    f"gallery: identity {ids[rows[0]]} has more than {_MAX_IMAGES} images"
                )
            self.owner: NDArray[np.intp] = np.flatnonzero(self.present).astype(np.intp)
            self._first = np.concatenate([[0], np.cumsum(counts[self.present])]).astype(np.intp)
        else:
            self.owner = codes[rows].astype(np.intp)
        self._rows = rows
        self._contiguous = rows.size == failed.size and not self.several
        self.count = int(self.owner.size)
        self.identities = int(self.present.sum())

    def load(self, start: int, stop: int) -> Float32:
        """Templates ``start`` to ``stop``, unit rows, float32 ``(stop - start, D)``."""
        if self._contiguous:
            return unit_rows(self._features, slice(start, stop), "gallery", self._ids)
        return self.take(np.arange(start, stop))

    def directions(self, start: int, stop: int) -> Float32:
        """Rows that ``load`` would make unit rows, as they are, float32 ``(stop - start, D)``.

        Nothing is copied where each gallery row is a template. Rows may be unusable.
        """
        if self._contiguous:
            return np.asarray(self._features[start:stop])
        if self._fused:
            return self.load(start, stop)
        return np.asarray(self._features[self._rows[start:stop]])

    def take(self, index: NDArray[np.intp]) -> Float32:
        """Chosen templates, unit rows, float32 ``(len(index), D)``."""
        if not self._fused:
            return unit_rows(self._features, self._rows[index], "gallery", self._ids)
        lengths = self._first[index + 1] - self._first[index]
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if ends.size else 0) - np.repeat(ends - lengths, lengths)
        rows = self._rows[np.repeat(self._first[index], lengths) + within]
        images = unit_rows(self._features, rows, "gallery", self._ids)
        fixed = np.rint(images.astype(np.float64) * _FIXED_POINT).astype(np.int64)
        sums = np.add.reduceat(fixed, ends - lengths, axis=0)
        means = sums.astype(np.float64) / (_FIXED_POINT * lengths[:, None])
        unit, norms = normalize(means)
        zero = np.flatnonzero(norms < ZERO_NORM)
        if zero.size:
            row = rows[(ends - lengths)[zero[0]]]
            raise ScoringError(
                f"gallery: the images of identity {self._ids[row]} (first row {row}) "
                "cancel out: their mean is zero"
            )
        alone = lengths == 1  # a single image is its own template, whatever others do
        unit[alone] = images[(ends - lengths)[alone]]
        return unit

    def of_identity(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """``(template numbers sorted by identity, first place per identity code)``."""
        order = np.argsort(self.owner, kind="stable").astype(np.intp)
        first = np.searchsorted(self.owner[order], np.arange(self.present.size + 1))
        return order, first.astype(np.intp)


def dequantize(features: NDArray[Any], scale: float, zero_point: int) -> Float32:
    """Native integer features as float32: ``(q - zero_point) * scale``, computed in float64.

    Args:
        features: uint8 or int8 ``(n, D)``.
        scale: finite and above 0.
        zero_point: integer of the same range as ``features``.

    Raises:
        ScoringError: another dtype, or a scale that is not a positive number.
    """
    if features.dtype not in (np.dtype(np.uint8), np.dtype(np.int8)):
        raise ScoringError(f"dequantize: uint8 or int8 features expected, got {features.dtype}")
    if not (np.isfinite(scale) and scale > 0):
        raise ScoringError(f"dequantize: scale must be a positive number, got {scale}")
    levels = np.arange(256, dtype=np.uint8).view(features.dtype)
    table = ((levels.astype(np.float64) - zero_point) * scale).astype(np.float32)
    result: Float32 = table[features.view(np.uint8)]
    return result
