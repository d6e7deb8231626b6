"""What a set of features tells about a dead board or a wrong preprocessing, before scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.errors import ScoringError
from orchestrator.scoring.exact import Float32, normalize
from orchestrator.scoring.templates import check_mask, check_matrix, unit_rows

SAMPLE = 512
NEAR_ONE = 0.95
UNIQUE_SHARE = 0.01
_CHUNK = 4096


@dataclass(frozen=True)
class Finding:
    """Something suspect that does not forbid scoring.

    Attributes:
        code: ``constant`` (all rows equal), ``few_unique`` (under 1 % different rows),
            ``duplicates`` (equal rows of different identities) or ``near_one`` (strangers score
            almost 1).
        what: the set.
        message: names rows and identities, and what it usually means.
        rows: rows concerned.
    """

    code: Literal["constant", "few_unique", "duplicates", "near_one"]
    what: str
    message: str
    rows: int


def check_features(
    features: Float32,
    *,
    what: str,
    ids: Any,
    failed: NDArray[np.bool_] | None = None,
) -> list[Finding]:
    """Look at one set of features before it is scored.

    Args:
        features: float32 ``(n, D)``.
        what: the set's name for messages, for instance ``probes of rv1126``.
        ids: identity of each row, ``(n,)``.
        failed: rows without a feature, bool ``(n,)``; not looked at.

    Returns:
        Findings, most serious first; empty when nothing is suspect.

    Raises:
        ScoringError: wrong shape or dtype, or a row that is zero, NaN or Inf.
    """
    names = np.asarray(ids)
    check_matrix(features, what, names.size)
    rows = np.flatnonzero(~check_mask(failed, what, names.size))
    if rows.size == 0:
        raise ScoringError(f"{what}: all {names.size} images failed")
    prints = np.empty(rows.size, np.uint64)
    for start in range(0, rows.size, _CHUNK):
        part = rows[start : start + _CHUNK]
        unit_rows(features, part, what, names)
        prints[start : start + _CHUNK] = _fingerprints(features[part])
    return [
        *_repeated(features, rows, prints, what, names),
        *_near_one(features, rows, what, names),
    ]


def _fingerprints(rows: Float32) -> NDArray[np.uint64]:
    """A 64-bit fingerprint of each row's bytes (a multilinear hash with odd random weights)."""
    bits = np.ascontiguousarray(rows).view(np.uint32).astype(np.uint64)
    weights = np.random.default_rng(20240229).integers(
        0, 2**63, size=(2, rows.shape[1]), dtype=np.uint64
    )
    weights = weights * np.uint64(2) + np.uint64(1)
    high = (bits * weights[0]).sum(axis=1, dtype=np.uint64) >> np.uint64(32)
    low = (bits * weights[1]).sum(axis=1, dtype=np.uint64) >> np.uint64(32)
    result: NDArray[np.uint64] = (high << np.uint64(32)) | low
    return result


def _repeated(
    features: Float32,
    rows: NDArray[np.intp],
    prints: NDArray[np.uint64],
    what: str,
    names: NDArray[Any],
) -> list[Finding]:
    values, first, inverse, counts = np.unique(
        prints, return_index=True, return_inverse=True, return_counts=True
    )
    if values.size == rows.size:
        return []
    if values.size == 1:
        message = (
            f"{what}: all {rows.size} feature rows are equal: the board returns one vector "
            "whatever it is shown (input never written, or output read before the inference ended?)"
        )
        return [Finding("constant", what, message, int(rows.size))]
    if values.size < UNIQUE_SHARE * rows.size:
        message = (
            f"{what}: only {values.size} different rows among {rows.size}: the board hardly looks "
            "at its input"
        )
        return [Finding("few_unique", what, message, int(rows.size))]
    twins = np.flatnonzero(counts[inverse] > 1)
    partner = rows[first[inverse[twins]]]
    mine = rows[twins]
    strangers = names[mine] != names[partner]
    real = [
        (int(a), int(b))
        for a, b in zip(mine[strangers], partner[strangers], strict=True)
        if np.array_equal(features[a], features[b])
    ]
    if not real:
        return []
    row, other = real[0]
    message = (
        f"{what}: {len(real)} rows equal another identity's row to the bit, first row {row} "
        f"(identity {names[row]}) and row {other} (identity {names[other]}): one image under two "
        "identities, which the audit of the test set names (farm data check), or else a result "
        "sent twice"
    )
    return [Finding("duplicates", what, message, len(real))]


def _near_one(
    features: Float32, rows: NDArray[np.intp], what: str, names: NDArray[Any]
) -> list[Finding]:
    """Strangers of a healthy model score near 0; a model fed garbage gives everyone one face."""
    chosen = rows[np.linspace(0, rows.size - 1, min(SAMPLE, rows.size)).astype(np.intp)]
    chosen = np.unique(chosen)
    unit, _ = normalize(features[chosen])
    scores = unit @ unit.T
    strangers = names[chosen][:, None] != names[chosen][None, :]
    if not strangers.any():
        return []
    middle = float(np.median(scores[strangers]))
    if middle < NEAR_ONE:
        return []
    message = (
        f"{what}: different identities score {middle:.3f} in the median of {chosen.size} rows; "
        "a healthy model's strangers score near 0. Usual causes: colour order swapped, mean and "
        "std applied twice or not at all, or an embedding without its mean removed"
    )
    return [Finding("near_one", what, message, int(chosen.size))]
