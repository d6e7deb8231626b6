"""Two runs against each other, row by row; and a run beside the published table.

Accuracy is paired (`pairing.py`), its p values adjusted over the rows (Holm). Rows over another
test set are shown and not subtracted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.columns.tasks import judged
from orchestrator.reporting.analysis.figures import device_ms_of, valid_time
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.analysis.pairing import (
    Change,
    RowPair,
    Slower,
    known,
    of_detectors,
    of_searches,
)
from orchestrator.reporting.tables.published import NOT_COMPARABLE, Published
from orchestrator.results import CellResult
from orchestrator.scoring import holm

SEED = 0
PERCENTILES = (50, 90, 99)
Float64 = NDArray[np.float64]


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
    if a.task == b.task == "detection":
        return of_detectors(run_a, run_b, pair)
    if a.task != b.task:
        return replace(pair, why="a detector and a recognition model: not comparable")
    return of_searches(run_a, run_b, pair)


def _adjusted(pairs: list[RowPair]) -> list[RowPair]:
    for key in dict.fromkeys(key for pair in pairs for key in pair.changes):
        places = [i for i, p in enumerate(pairs) if p.kind != "equal" and key in p.changes]
        adjusted = holm([pairs[i].changes[key].p for i in places])
        for i, p in zip(places, adjusted, strict=True):
            change = replace(pairs[i].changes[key], p_holm=p)
            pairs[i] = replace(pairs[i], changes={**pairs[i].changes, key: change})
    return pairs


def _times(
    run_a: Run, run_b: Run, a: CellResult, b: CellResult
) -> tuple[dict[int, Slower] | None, str]:
    for run, row in ((run_a, a), (run_b, b)):
        if row.latency is None or not valid_time(row):
            why = row.verdict_reason or row.verdict
            return None, f"no valid time in {run.name}: {row.verdict} ({why})"
    if a.detector is not None or b.detector is not None:
        return None, "times of two models are not compared yet; results.json has both medians"
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
        **{rate.key: change(pair.changes.get(rate.key)) for rate in judged([pair.first]).rates},
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
        **{rate.key: known(rate.of(row)).value for rate in judged([row]).rates},
        "p50_ms": row.p50_ms,
        "model": row.model,
    }
