"""A gate for CI: a run fails it when it is worse than a baseline by more than was allowed.

A row fails on accuracy when its rate fell by more than the limit and the fall is significant
(paired, Holm over the rows); it fails on latency when its ratio exceeds the limit and the interval
of the ratio lies above 1, and does so again when both are measured once more, interleaved. A
second look that is SUSPECT decides nothing: the row fails as undecided, with the reason. Where the
data cannot tell, the gate says how much they could have told.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from orchestrator.columns.tasks import RATE_KEYS, judged
from orchestrator.errors import UserError
from orchestrator.reporting.analysis.compare import PERCENTILES, RunComparison, grouped
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.analysis.pairing import RowPair, Slower

UNCONFIRMED = "time from one session each, not confirmed by measuring again"


@dataclass(frozen=True)
class SecondLook:
    """A row's both artifacts measured again, interleaved.

    Attributes:
        ratios: by percentile.
        doubts: why these times are SUSPECT; such times neither confirm a slow-down nor clear it.
    """

    ratios: Mapping[int, Slower]
    doubts: tuple[str, ...] = ()


# Measures a row's both artifacts again, or says why it could not.
Confirm = Callable[[RowPair], SecondLook | str]


@dataclass(frozen=True)
class Limits:
    """What is allowed: falls of rates in points, by name; slow-downs in percent, by percentile."""

    max_drop: dict[str, float]
    max_slower: dict[int, float]


Level = Literal["fail", "warn", "unjudged", "left"]


@dataclass(frozen=True)
class Remark:
    """What was found about one row."""

    row: str
    level: Level
    text: str


@dataclass(frozen=True)
class Judgement:
    """`failures` close the gate; `warnings` could not be judged; `left_out` were not asked.

    Attributes:
        remarks: those of the above that are about one row each.
    """

    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    left_out: tuple[str, ...]
    judged: int
    remarks: tuple[Remark, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing closes the gate."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for `--json`."""
        fields = asdict(self)
        del fields["remarks"]  # the same texts once more
        return {"passed": self.passed, **fields}


def parse_limits(drops: Sequence[str], slower: Sequence[str]) -> Limits:
    """Limits as typed: `rank1=0.5` (points), `p50=10%` (percent).

    Raises:
        UserError: an unknown name, a number that is none, or nothing asked at all.
    """
    allowed = {}
    for text in drops:
        name, value = _split(text, "--max-drop rank1=0.5")
        if name not in RATE_KEYS:
            raise UserError(
                f"--max-drop {text}: no rate {name!r}", f"there are: {', '.join(RATE_KEYS)}"
            )
        allowed[name] = _number(value, text, "points, such as rank1=0.5")
    times = {}
    for text in slower:
        name, value = _split(text, "--max-slower p50=10%")
        known = {f"p{percentile}": percentile for percentile in PERCENTILES}
        if name not in known:
            raise UserError(f"--max-slower {text}: no {name!r}", f"there are: {', '.join(known)}")
        if not value.endswith("%"):
            raise UserError(f"--max-slower {text}: expected percent", f"write {name}={value}%")
        times[known[name]] = _number(value[:-1], text, "percent, such as p50=10%")
    if not allowed and not times:
        raise UserError(
            "the gate was given nothing to judge by",
            "for example: farm gate --max-drop rank1=0.5 --max-slower p50=10%",
        )
    return Limits(allowed, times)


def judge(
    compared: RunComparison, candidate: Run, limits: Limits, confirm: Confirm | None = None
) -> Judgement:
    """Hold a comparison against limits; a baseline's row without result in the candidate fails.

    Args:
        confirm: asked, once a row, before a slow-down closes the gate; None to close it at once.
    """
    said: list[Remark] = []
    rates = times = 0
    for name in compared.only_first:
        reason = candidate.failures.get(name)
        if reason is None:
            said.append(Remark(name, "left", f"not part of {candidate.name}"))
        else:
            text = f"has a result in {compared.first}, none now: {reason}"
            said.append(Remark(name, "fail", text))
    for pair in compared.rows:
        if limits.max_drop and pair.kind == "none":
            said.append(Remark(pair.name, "unjudged", f"accuracy not judged: {pair.why}"))
        elif limits.max_drop:
            for rate, limit in limits.max_drop.items():
                rates += _rate(pair, rate, limit, said)
        if limits.max_slower and pair.time is None:
            said.append(Remark(pair.name, "left", f"left out of latency: {pair.no_time}"))
        elif limits.max_slower:
            again = _once(pair, confirm) if confirm is not None else None
            for percentile, limit in limits.max_slower.items():
                times += _time(pair, percentile, limit, said, again)
    total = len(compared.rows) + len(compared.only_first)
    untimed = bool(limits.max_slower) and not times
    return _judgement(said, total, judged=rates + times, untimed=untimed)


def _judgement(said: Sequence[Remark], total: int, *, judged: int, untimed: bool) -> Judgement:
    failures = [f"{each.row}: {each.text}" for each in said if each.level == "fail"]
    warnings = [f"{each.row}: {each.text}" for each in said if each.level == "warn"]
    unjudged = [(each.row, each.text) for each in said if each.level == "unjudged"]
    warnings += grouped(unjudged, total)
    if untimed:
        warnings.append("--max-slower judged nothing: no row has a valid time in both runs")
    if not judged and not failures:
        failures.append("nothing could be judged: no row has what the limits ask for in both runs")
    left_out = grouped(((each.row, each.text) for each in said if each.level == "left"), total)
    return Judgement(
        tuple(failures), tuple(warnings), tuple(left_out), judged=judged, remarks=tuple(said)
    )


def _rate(pair: RowPair, rate: str, limit: float, said: list[Remark]) -> int:
    """Judge a rate; 1 when it could be judged."""
    change = pair.changes.get(rate)
    if change is None:
        why = _no_rate(pair, rate)
        said.append(Remark(pair.name, "warn", f"{rate} not judged: {why}"))
        return 0
    points = 100 * change.value
    text = (
        f"{rate} changed by {points:+.2f} points "
        f"[{100 * change.low:+.2f}, {100 * change.high:+.2f}], p = {change.p_holm:.2g} (Holm)"
    )
    if -points > limit and change.real:
        said.append(Remark(pair.name, "fail", f"{text}: more than {limit:g} allowed"))
    elif -points > limit:
        text += f": over the limit of {limit:g}, but not significant"
        said.append(Remark(pair.name, "warn", text))
    elif pair.kind != "equal" and 100 * (change.high - change.low) / 2 > max(limit, 0.05):
        width = 100 * (change.high - change.low) / 2
        text = (
            f"{judged([pair.first]).over} cannot show a fall of {limit:g} points in {rate} "
            f"(±{width:.2f}): take more of them"
        )
        said.append(Remark(pair.name, "warn", text))
    return 1


def _no_rate(pair: RowPair, rate: str) -> str:
    """Why a pair has no change of a rate."""
    keys = [each.key for each in judged([pair.first]).rates]
    if rate not in keys:
        return f"a row of {pair.first.task} has {', '.join(keys)}"
    reasons = (pair.first.tar.reason, pair.second.tar.reason)
    return next((reason for reason in reasons if reason and rate == "tar"), "no figure")


def _once(pair: RowPair, confirm: Confirm) -> Callable[[], SecondLook | str]:
    return functools.cache(lambda: confirm(pair))


def _time(
    pair: RowPair,
    percentile: int,
    limit: float,
    said: list[Remark],
    again: Callable[[], SecondLook | str] | None,
) -> int:
    """Judge a time; 1, since a pair with a time can be judged."""
    assert pair.time is not None
    slower = pair.time[percentile]
    text = f"p{percentile} {_slower_text(slower)}"
    if not _over(slower, limit):
        if 100 * (slower.ratio - 1) > limit:
            text += f": over the limit of {limit:g} %, but not significant"
            said.append(Remark(pair.name, "warn", text))
        return 1
    text += f": more than {limit:g} % slower"
    found = again() if again is not None else UNCONFIRMED
    if isinstance(found, str):
        said.append(Remark(pair.name, "fail", f"{text} ({found})"))
        return 1
    ratio = found.ratios[percentile]
    again_text = f"{_slower_text(ratio)} measured again, interleaved"
    if found.doubts:
        text += f"; undecided: {again_text}, but SUSPECT: {'; '.join(found.doubts)}"
        said.append(Remark(pair.name, "fail", text))
    elif _over(ratio, limit):
        said.append(Remark(pair.name, "fail", f"{text}, and {again_text}"))
    else:
        said.append(Remark(pair.name, "warn", f"{text}, but {again_text}: not confirmed"))
    return 1


def _over(slower: Slower, limit: float) -> bool:
    """Whether it is slower by more than `limit` percent and, where that is known, not by noise."""
    known = math.isfinite(slower.low)
    return 100 * (slower.ratio - 1) > limit and not (known and slower.low <= 1)


def _slower_text(slower: Slower) -> str:
    text = f"{100 * (slower.ratio - 1):+.1f} %"
    if math.isfinite(slower.low):
        text += f" [{100 * (slower.low - 1):+.1f}, {100 * (slower.high - 1):+.1f}]"
    return text


def _split(text: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise UserError(f"{text!r}: expected a name and a number", f"for example {example}")
    return name.strip().lower(), value.strip()


def _number(value: str, text: str, expected: str) -> float:
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", value):
        raise UserError(f"{text!r}: {value!r} is no number", f"expected {expected}")
    return float(value)
