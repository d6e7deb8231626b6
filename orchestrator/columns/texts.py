"""Figures of a row as the tables write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from orchestrator.results import CellResult, Estimate, Tar, Verdict

DASH = "–"


def far_text(far: float) -> str:
    """`1e-3` for 0.001."""
    mantissa, _, exponent = f"{far:.0e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def percent(value: float | None) -> str:
    """`80.94` for 0.8094."""
    return DASH if value is None else f"{100 * value:.2f}"


def milliseconds(value: float | None, digits: int = 1) -> str:
    """`16.2 ms`: how a time is written everywhere; more digits where times are compared."""
    return DASH if value is None else f"{value:.{digits}f} ms"


def bounded(
    estimate: Estimate, value: str, bound: str, *, scale: float = 1.0, with_interval: bool = True
) -> str:
    """An estimate and its interval, where it has one: `80.94 [80.6, 81.3]`.

    Args:
        value, bound: format specifications of the estimate and of the interval's ends.
        scale: what all three are multiplied by: 100 for percent.
    """
    if estimate.value is None:
        return DASH
    text = f"{scale * estimate.value:{value}}"
    if not with_interval or estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{scale * estimate.low:{bound}}, {scale * estimate.high:{bound}}]"


def interval(estimate: Estimate) -> str:
    """A rate in percent: `80.94 [80.6, 81.3]`."""
    return bounded(estimate, ".2f", ".1f", scale=100)


def rate_text(estimate: Estimate, with_interval: bool = True) -> str:
    """A rate in percent, `80.94 [80.6, 81.3]` or `80.94`."""
    return interval(estimate) if with_interval else percent(estimate.value)


def time_text(result: CellResult, with_reasons: bool = True) -> str:
    """The Time column: the p50 of a board; never that of a host or another board in its place.

    A suspect time carries its reasons in a word each, `16.2 ms SUSPECT (throttled)`. Of two models
    it is the detector's and the recognizer's: `9.1 + 16.2 ms`.
    """
    if result.latency is None and result.verdict != Verdict.SUSPECT:
        return DASH
    text = milliseconds(result.latency.device.p50_ms if result.latency else None)
    if result.detector is not None and result.detector.latency is not None and result.latency:
        text = f"{result.detector.latency.device.p50_ms:.1f} + {text}"
    if result.verdict == Verdict.VALID:
        return text
    if not with_reasons:
        return f"{text} {result.verdict}"
    reasons = result.verdict_reasons or [result.verdict_reason]
    words = [reason.partition(":")[0] for reason in reasons if reason]
    return f"{text} {result.verdict}" + (f" ({', '.join(words)})" if words else "")


def tar_text(tar: Tar, with_interval: bool = True) -> str:
    """The TAR column, or n/a where the target allows no false alarm at all."""
    if not tar.available:
        return "n/a (n<1/FAR)" if with_interval else "n/a"
    return rate_text(tar, with_interval)


def points(estimate: Estimate, with_interval: bool = True) -> str:
    """A difference in percentage points: `-0.23 [-0.9, +0.4]`."""
    return bounded(estimate, "+.2f", "+.1f", scale=100, with_interval=with_interval)


def p_text(p: float) -> str:
    """`p = 0.012`, `p < 0.001`."""
    return f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"


def bytes_text(count: int | None) -> str:
    """`3.9 MB` for 3,866,838."""
    return DASH if count is None else f"{count / 1e6:.1f} MB"


def row_names(results: Sequence[CellResult]) -> Callable[[CellResult], str]:
    """What names a row among these: its hardware, with its quantization where several rows have
    that hardware, and with the row's own name where even so several are called alike."""
    hardware = Counter(result.hardware for result in results)
    quantized = Counter(_quantized(result) for result in results)

    def name(result: CellResult) -> str:
        if hardware[result.hardware] < 2:
            return result.hardware
        named = _quantized(result)
        return f"{named} ({result.name})" if quantized[named] > 1 else named

    return name


def _quantized(result: CellResult) -> str:
    words = (result.hardware, result.dtype, result.granularity, result.symmetry)
    return " ".join(word for word in words if word)
