"""The figures that scoring hands out. Rates are fractions 0..1; printing makes percent of them."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.scoring.exact import Float32, Float64


@dataclass(frozen=True)
class Estimate:
    """A rate, or a difference of two rates (then -1..1), with its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Tar:
    """True accepts at one false-accept target.

    Attributes:
        value: share of mated probes accepted, failed ones in the denominator.
        low: lower end of the confidence interval; the threshold is chosen again in each resample.
        high: upper end.
        far_target: the target, false accepts a trial.
        far_achieved: ``false_accepts / trials``.
        k: budget of false accepts, ``floor(far_target * trials + 1e-9)``.
        false_accepts: trials accepted at ``threshold``; below ``k`` when scores tie.
        threshold: accept iff score >= threshold; -inf when the budget covers every trial.
        trials: impostor trials n.
        available: False when the target allows no false accept (k = 0): the value then belongs to
            an unknown, smaller FAR and is not to be printed as if it met the target.
        reason: why it is not available; empty when it is.
    """

    value: float
    low: float
    high: float
    far_target: float
    far_achieved: float
    k: int
    false_accepts: int
    threshold: float
    trials: int
    available: bool
    reason: str


@dataclass(frozen=True, eq=False)
class Det:
    """Points of the detection error trade-off, one for each budget on a logarithmic grid.

    Attributes:
        far: achieved false accepts a trial, float64 ``(n,)``, ascending.
        miss: 1 - TAR (with the rank condition), float64 ``(n,)``.
        threshold: accept iff score >= threshold, float32 ``(n,)``.
    """

    far: Float64
    miss: Float64
    threshold: Float32
