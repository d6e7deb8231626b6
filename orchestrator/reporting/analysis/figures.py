"""What the charts are drawn from: a run's rows and what the store holds of them.

Rows that share a step share its numbers: they are read once and carry all their names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.times import TIMES, RawTimes
from orchestrator.detection import DetectionError, Detections, TruthSet, load_detections
from orchestrator.errors import FarmError
from orchestrator.images.annotated_rows import TRUTH
from orchestrator.reporting.analysis.history import Run
from orchestrator.results import CellResult, Verdict
from orchestrator.scoring import ScoringError, Searches
from orchestrator.stages.conditions import SAMPLES, Conditions, samples_from
from orchestrator.stages.evaluate import FOUND
from orchestrator.stages.score import SEARCHES

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve of one or more rows; `x` and `y` float64 (n,)."""

    names: tuple[str, ...]
    x: Float64
    y: Float64


@dataclass(frozen=True, eq=False)
class TimesOf:
    """A measurement: raw device times in milliseconds, in order, float64 (n,).

    `on_board`: a board made them; else this host did, and they say nothing of a board.
    """

    names: tuple[str, ...]
    board: str
    device_ms: Float64
    on_board: bool
    executed_by: str
    verdict: str
    raw: RawTimes
    conditions: Conditions


def numbered(rows: Sequence[CellResult]) -> dict[str, str]:
    """Name of a row to its short text in charts: its number in the table and its hardware.

    Its model and its quantization stand there too where rows would have the same text else.
    """
    models = len({row.model for row in rows}) > 1
    plain = {row.name: f"{row.hardware} {row.model}" if models else row.hardware for row in rows}
    count = Counter(plain.values())
    return {
        row.name: " ".join(
            [
                f"{number} {plain[row.name]}",
                *(_quantization(row) if count[plain[row.name]] > 1 else ()),
            ]
        )
        for number, row in enumerate(rows, 1)
    }


def _quantization(row: CellResult) -> tuple[str, ...]:
    return tuple(word for word in (row.dtype, row.granularity, row.symmetry) if word)


def valid_time(row: CellResult) -> bool:
    """Whether a row's latency may be compared: a board made it, and the verdict is VALID."""
    return row.latency is not None and row.verdict == Verdict.VALID


def det_curves(run: Run) -> list[Curve]:
    """Miss rate over FAR a search."""

    def read(row: CellResult) -> tuple[Float64, Float64] | None:
        held = run.held(row, "score")
        det = held.manifest["facts"].get("det") if held else None
        return None if not det else (np.array(det["far"]), np.array(det["miss"]))

    return _curves(run.results, read)


def cmc_curves(run: Run, up_to: int = 100) -> list[Curve]:
    """Share of mated probes whose mate is among the first r, for r from 1 to `up_to`.

    A failed probe, or one without a mate's score, is a miss at every rank.
    """

    def read(row: CellResult) -> tuple[Float64, Float64] | None:
        searches = searches_of(run, row)
        if searches is None or searches.rank is None or not searches.mated.any():
            return None
        last = min(up_to, searches.gallery_size)
        rank = searches.rank[searches.mated]
        counts = np.bincount(np.clip(rank, 0, last + 1), minlength=last + 2)
        found = np.cumsum(counts[1 : last + 1]) / rank.size
        return np.arange(1, last + 1, dtype=np.float64), found

    return _curves(run.results, read)


def precision_recall_curves(run: Run) -> list[Curve]:
    """Precision over recall (fractions) of the subset that rows are compared by."""

    def read(row: CellResult) -> tuple[Float64, Float64] | None:
        held = run.held(row, "evaluate")
        facts = held.manifest["facts"] if held else None
        if facts is None:
            return None
        curve = facts["curve"][facts["main"]]
        return np.array(curve["recall"]), np.array(curve["precision"])

    return _curves(run.results, read, "evaluate")


def searches_of(run: Run, row: CellResult) -> Searches | None:
    """The row's searches, or None where the store has none or a damaged one."""
    held = run.held(row, "score")
    if held is None:
        return None
    try:
        return Searches.load(held.verify(SEARCHES))
    except (FarmError, ScoringError, OSError):
        return None


def detections_of(run: Run, row: CellResult) -> list[Detections] | None:
    """A detector's boxes, one an image; None where the store has none or a damaged file."""
    held = run.held(row, "evaluate")
    if held is None:
        return None
    try:
        return load_detections(held.read(FOUND))
    except (FarmError, DetectionError, OSError):
        return None


def truth_of(run: Run, row: CellResult) -> TruthSet | None:
    """The truth of a detector's images; None where the store has none or a damaged file."""
    held = run.held(row, "images")
    if held is None:
        return None
    try:
        return TruthSet.load(held.verify(TRUTH))
    except (FarmError, DetectionError, OSError):
        return None


def false_positives_of(row: CellResult) -> tuple[float, ...]:
    """The numbers of false positives an image at which a detector's recall is given."""
    found = row.detection.recall if row.detection is not None else {}
    return tuple(map(float, found)) or (0.1,)


def device_ms_of(run: Run, row: CellResult) -> Float64 | None:
    """The row's raw device times in milliseconds, in order; None where the store has none."""
    found = raw_of(run, row)
    return None if found is None else found[0].device_ns / 1e6


def raw_of(run: Run, row: CellResult) -> tuple[RawTimes, Conditions] | None:
    """The row's raw times and the sensors beside them; None where the store has none."""
    held = run.held(row, "measure")
    if held is None:
        return None
    try:
        raw = RawTimes.from_bytes(held.read(TIMES))
    except (FarmError, OSError, ValueError, KeyError):
        return None
    try:
        return raw, Conditions(samples_from(held.read(SAMPLES)))
    except (FarmError, OSError, ValueError):
        return raw, Conditions()


def measured(run: Run) -> list[TimesOf]:
    """Raw times of every measurement, once each, in the table's order."""
    groups: dict[str, list[CellResult]] = {}
    for row in run.results:
        key = row.provenance.get("keys", {}).get("measure")
        if key:
            groups.setdefault(key, []).append(row)
    found = []
    for rows in groups.values():
        raw = raw_of(run, rows[0])
        if raw is not None and raw[0].device_ns.size:
            first = rows[0]
            found.append(
                TimesOf(
                    tuple(row.name for row in rows),
                    first.board,
                    raw[0].device_ns / 1e6,
                    first.latency is not None,
                    first.executed_by,
                    first.verdict,
                    *raw,
                )
            )
    return found


def _curves(
    rows: Sequence[CellResult],
    read: Callable[[CellResult], tuple[Float64, Float64] | None],
    stage: str = "score",
) -> list[Curve]:
    """One curve for all rows whose points are equal."""
    by_key: dict[str, list[str]] = {}
    first: dict[str, CellResult] = {}
    for row in rows:
        key = row.provenance.get("keys", {}).get(stage)
        if key:
            by_key.setdefault(key, []).append(row.name)
            first.setdefault(key, row)
    found: dict[bytes, tuple[list[str], Float64, Float64]] = {}
    for key, names in by_key.items():
        points = read(first[key])
        if points is None or not points[0].size:
            continue
        same = points[0].tobytes() + points[1].tobytes()
        found.setdefault(same, ([], *points))[0].extend(names)
    return [Curve(tuple(names), x, y) for names, x, y in found.values()]
