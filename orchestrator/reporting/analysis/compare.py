"""Two runs against each other, row by row; and a run beside the published table.

Accuracy is paired: McNemar's test on Rank-1 and a bootstrap of both thresholds together for TAR,
adjusted over the rows (Holm). Rows over another test set are shown and not subtracted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.reporting.analysis.figures import device_ms_of, searches_of, valid_time
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.tables.published import NOT_COMPARABLE, Published
from orchestrator.results import CellResult, Estimate
from orchestrator.scoring import ScoringError, holm
from orchestrator.scoring import compare as compare_searches

SIGNIFICANT = 0.05
SEED, RESAMPLES = 0, 1000
PERCENTILES = (50, 90, 99)
Kind = Literal["paired", "equal", "unpaired", "none"]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """The second run's rate minus the first's, as fractions, with a 95 % interval and p values.

    Attributes:
        p: two-sided, for no change; `p_holm` is adjusted over the rows compared.
    """

    value: float
    low: float
    high: float
    p: float
    p_holm: float = 1.0

    @property
    def real(self) -> bool:
        """Whether it is significant."""
        return self.p_holm < SIGNIFICANT


@dataclass(frozen=True)
class Slower:
    """The second run's time over the first's at one percentile: 1.1 is 10 % slower.

    The interval holds what varies within the two measurements, not what varies between sessions.
    """

    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class RowPair:
    """A row in both runs.

    Attributes:
        kind: `equal`: the very same stored searches; `paired`: over the same probes; `unpaired`:
            same test set, but searches are not stored here any more; `none`: not comparable.
        why: why it is not comparable or not paired.
        time: by percentile (50, 90, 99), empty where a row has no valid time, with `no_time`.
        lost, gained: probes that only the first, or only the second, ranks first.
    """

    name: str
    first: CellResult
    second: CellResult
    kind: Kind
    why: str = ""
    rank1: Change | None = None
    tar: Change | None = None
    lost: int = 0
    gained: int = 0
    time: dict[int, Slower] | None = None
    no_time: str = ""


@dataclass(frozen=True)
class RunComparison:
    """All rows of two runs; `only_first` and `only_second` have no partner."""

    first: str
    second: str
    rows: tuple[RowPair, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for `--json`."""
        return {
            "first": self.first,
            "second": self.second,
            "only_first": list(self.only_first),
            "only_second": list(self.only_second),
            "rows": [_row_json(row) for row in self.rows],
        }


def compare_runs(
    first: Run, second: Run, only: Callable[[str], bool] | None = None
) -> RunComparison:
    """Every row that both runs have.

    Args:
        first: the baseline.
        second: compared with it.
        only: which names to take; all when None.
    """
    before = {row.name: row for row in first.results}
    after = {row.name: row for row in second.results}
    wanted = [name for name in before if only is None or only(name)]
    pairs = [_pair(first, second, before[n], after[n]) for n in wanted if n in after]
    return RunComparison(
        first=first.name,
        second=second.name,
        rows=tuple(_adjusted(pairs)),
        only_first=tuple(name for name in wanted if name not in after),
        only_second=tuple(n for n in after if n not in before and (only is None or only(n))),
    )


def grouped(said: Iterable[tuple[str, str]], total: int = 0) -> list[str]:
    """`a, b: why` for (row, why) pairs: rows with the same reason share a line.

    Args:
        total: how many rows there are; all of them are `all rows`. 0: they are always named.
    """
    rows: dict[str, list[str]] = {}
    for name, why in said:
        rows.setdefault(why, []).append(name)
    return [
        f"{'all rows' if 1 < total == len(names) else ', '.join(names)}: {why}"
        for why, names in rows.items()
    ]


def beside_published(
    run: Run, published: Published
) -> list[tuple[CellResult, dict[str, Any] | None]]:
    """A run's rows beside the published rows of the same Hardware; nothing is subtracted."""
    found = []
    for row in run.results:
        other = published.row(row.hardware)
        found.append((row, asdict(other) | {"note": NOT_COMPARABLE} if other else None))
    return found


def _pair(run_a: Run, run_b: Run, a: CellResult, b: CellResult) -> RowPair:
    times, no_time = _times(run_a, run_b, a, b)
    pair = RowPair(a.name, a, b, "none", time=times, no_time=no_time)
    if a.test_set.hash != b.test_set.hash:
        return replace(pair, why="different test sets: not comparable")
    if a.tar.far_target != b.tar.far_target:
        return replace(pair, why="tables at different FARs: not comparable")
    available = a.tar.available and b.tar.available
    keys = [row.provenance.get("keys", {}).get("score") for row in (a, b)]
    if keys[0] is not None and keys[0] == keys[1]:
        zero = Change(0.0, 0.0, 0.0, 1.0)
        tar = zero if available else None
        return replace(pair, kind="equal", why="the same stored searches", rank1=zero, tar=tar)
    first, second = searches_of(run_a, a), searches_of(run_b, b)
    if first is None or second is None:
        return replace(
            pair,
            kind="unpaired",
            why="the stored searches of one run are not here: intervals are wider, not paired",
            rank1=_unpaired(a.rank1, b.rank1),
            tar=_unpaired(a.tar, b.tar) if available else None,
        )
    far = a.tar.far_target
    try:
        found = compare_searches(first, second, far=(far,), seed=SEED, bootstrap=RESAMPLES)
    except ScoringError as error:
        return replace(pair, why=str(error))
    rank1, tar_found = found.rank1_difference, found.tar_difference[far]
    change = Change(
        tar_found.value,
        tar_found.low,
        tar_found.high,
        normal_p(tar_found.value, tar_found.low, tar_found.high),
    )
    return replace(
        pair,
        kind="paired",
        rank1=Change(rank1.value, rank1.low, rank1.high, found.p_value),
        tar=change if available else None,
        lost=found.lost,
        gained=found.gained,
    )


def normal_p(value: float, low: float, high: float) -> float:
    """Two-sided p for no change, from a 95 % interval taken as normal: coarse; Holm needs one."""
    error = (high - low) / (2 * 1.959964)
    if error <= 0:
        return 1.0 if value == 0 else 0.0
    return math.erfc(abs(value) / error / math.sqrt(2))


def _unpaired(a: Estimate, b: Estimate) -> Change | None:
    """Newcombe's hybrid interval of two rates' difference (Stat. Med. 17, 1998, method 10)."""
    numbers = [v for e in (a, b) for v in (e.value, e.low, e.high) if v is not None]
    if len(numbers) < 6:
        return None
    value_a, low_a, high_a, value_b, low_b, high_b = numbers
    change = value_b - value_a
    low = change - math.hypot(value_b - low_b, high_a - value_a)
    high = change + math.hypot(high_b - value_b, value_a - low_a)
    return Change(change, low, high, normal_p(change, low, high))


def _adjusted(pairs: list[RowPair]) -> list[RowPair]:
    for name in ("rank1", "tar"):
        places = [
            i
            for i, pair in enumerate(pairs)
            if pair.kind != "equal" and getattr(pair, name) is not None
        ]
        adjusted = holm([getattr(pairs[i], name).p for i in places])
        for i, p in zip(places, adjusted, strict=True):
            change = replace(getattr(pairs[i], name), p_holm=p)
            pairs[i] = replace(pairs[i], **{name: change})
    return pairs


def _times(
    run_a: Run, run_b: Run, a: CellResult, b: CellResult
) -> tuple[dict[int, Slower] | None, str]:
    for run, row in ((run_a, a), (run_b, b)):
        if row.latency is None or not valid_time(row):
            why = row.verdict_reason or row.verdict
            return None, f"no valid time in {run.name}: {row.verdict} ({why})"
    if (a.board, a.kind) != (b.board, b.kind):
        return None, f"different boards: {a.board} and {b.board}"
    assert a.latency is not None
    assert b.latency is not None
    raw = device_ms_of(run_a, a), device_ms_of(run_b, b)
    found = {}
    for percentile in PERCENTILES:
        name = f"p{percentile}_ms"
        ratio = getattr(b.latency.device, name) / getattr(a.latency.device, name)
        low, high = (
            ratio_interval(raw[0], raw[1], percentile)
            if raw[0] is not None and raw[1] is not None
            else (math.nan, math.nan)
        )
        found[percentile] = Slower(ratio, low, high)
    return found, ""


def slower(first: Float64, second: Float64) -> dict[int, Slower]:
    """The second times over the first by percentile; float64 (n,), in order."""
    return {
        percentile: Slower(
            float(np.percentile(second, percentile) / np.percentile(first, percentile)),
            *ratio_interval(first, second, percentile),
        )
        for percentile in PERCENTILES
    }


def ratio_interval(
    first: Float64, second: Float64, percentile: float, resamples: int = 500
) -> tuple[float, float]:
    """95 % interval of percentile(second) / percentile(first), times in order, float64 (n,).

    Blocks of neighbouring times are resampled (moving blocks of about the root of n: Kuensch,
    Ann. Stat. 17, 1989), since neighbours share clock, temperature and load.
    """
    random = np.random.default_rng(SEED)
    drawn = [_resampled(times, percentile, resamples, random) for times in (first, second)]
    low, high = np.percentile(drawn[1] / drawn[0], [2.5, 97.5])
    return float(low), float(high)


def _resampled(
    times: Float64, percentile: float, resamples: int, random: np.random.Generator
) -> Float64:
    size = times.size
    block = max(1, math.isqrt(size))
    count = -(-size // block)
    starts = random.integers(0, size - block + 1, (resamples, count))
    places = (starts[:, :, None] + np.arange(block)).reshape(resamples, -1)[:, :size]
    return np.asarray(np.percentile(times[places], percentile, axis=1), np.float64)


def _row_json(pair: RowPair) -> dict[str, Any]:
    def plain(value: float) -> float | None:
        return value if math.isfinite(value) else None

    def change(found: Change | None) -> dict[str, Any] | None:
        return None if found is None else asdict(found) | {"real": found.real}

    return {
        "name": pair.name,
        "kind": pair.kind,
        "why": pair.why,
        "first": _short(pair.first),
        "second": _short(pair.second),
        "rank1": change(pair.rank1),
        "tar": change(pair.tar),
        "only_first": pair.lost,
        "only_second": pair.gained,
        "time": {
            f"p{percentile}": {name: plain(value) for name, value in asdict(slower).items()}
            for percentile, slower in (pair.time or {}).items()
        },
        "no_time": pair.no_time,
    }


def _short(row: CellResult) -> dict[str, Any]:
    return {
        "hardware": row.hardware,
        "executed_by": row.executed_by,
        "verdict": row.verdict,
        "rank1": row.rank1.value,
        "tar": row.tar.value if row.tar.available else None,
        "p50_ms": row.latency.device.p50_ms if row.latency else None,
        "model": row.model,
    }
