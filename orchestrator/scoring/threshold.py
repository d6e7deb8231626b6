"""The threshold rule: a budget of false accepts, no interpolation, ties rejected whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from orchestrator.scoring.errors import ScoringError

if TYPE_CHECKING:
    from orchestrator.scoring.exact import Float32


def budget(far: float, trials: int) -> int:
    """False accepts allowed: ``K = floor(FAR * n + 1e-9)``; 1e-9 heals 0.001 * 7000 = 6.999....

    Raises:
        ScoringError: a FAR outside 0..1.
    """
    if not 0 <= far <= 1:
        raise ScoringError(f"a FAR is a fraction between 0 and 1, got {far}")
    return math.floor(far * trials + 1e-9)


def threshold_at(descending: Float32, far: float, trials: int) -> tuple[int, float, int]:
    """The smallest float32 threshold with at most K of the trials at or above it.

    ``t = nextafter(d[K], +inf)``: accepting ``s >= t`` is accepting ``s > d[K]``, so a group of
    equal scores across the budget's edge is rejected whole.

    Args:
        descending: impostor scores, largest first; at least ``min(K + 1, trials)`` of them.
        far: the target, a fraction of ``trials``.
        trials: impostor trials.

    Returns:
        ``(K, t, false accepts at t)``; ``t`` is -inf when the budget covers every trial.
    """
    import numpy as np  # a plan asks for the budget alone

    k = budget(far, trials)
    if k >= trials:
        return k, -math.inf, trials
    edge = np.float32(descending[k])
    accepted = int(np.searchsorted(-descending, -edge, side="left"))
    return k, float(np.nextafter(edge, np.float32(np.inf))), accepted
