"""The page's sections below the table: charts, tables and sentences, in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.columns.optional.energy import energy_text
from orchestrator.columns.tasks import judged
from orchestrator.columns.texts import milliseconds
from orchestrator.counting import form, share
from orchestrator.reporting.analysis import figures
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.analysis.timeline import Timeline, timeline
from orchestrator.reporting.html import (
    accuracy,
    curves,
    detection,
    explained,
    fleet,
    split,
    times,
)
from orchestrator.reporting.html.chart import Chart
from orchestrator.reporting.html.detection import Drawing
from orchestrator.reporting.html.layer_chart import layer_chart
from orchestrator.reporting.tables.crosstable import CROSS, cross_tables, scored_tables
from orchestrator.reporting.text import plain
from orchestrator.results import CellResult


@dataclass(frozen=True)
class Section:
    """A part of the page. `tables` have `title`, `head` and `body`; `pair`: charts side by side;
    `drawings` are boxes of pictures."""

    id: str
    title: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[Mapping[str, Any], ...] = ()
    texts: tuple[str, ...] = ()
    pair: bool = False
    drawings: tuple[Drawing, ...] = ()


def sections(run: Run) -> list[Section]:
    """Those that have something to show, of this run."""
    rows = run.results
    names = figures.numbered(rows)
    measured = [each for each in figures.measured(run) if each.on_board]
    when = timeline(run.events)
    few = accuracy.too_few(rows, names)
    every = [
        Section("pareto", "Accuracy against time", _some(accuracy.accuracy_latency(rows, names)),
                texts=(few,) if few else ()),
        Section("real", "Differences from float32", _some(accuracy.differences(rows, names)),
                texts=(_significant(rows),) if any(row.difference for row in rows) else ()),
        Section("split", "Detector or recognizer", _some(split.shares(rows, names))),
        Section("curves", "DET and CMC",
                _some(curves.det(figures.det_curves(run), rows, names),
                      curves.cmc(figures.cmc_curves(run), rows, names)), pair=True),
        *_of_detection(run, names),
        _cross(run),
        Section("layers", "Layers against float32",
                tuple(layer_chart(n, each) for n, each in enumerate(explained.stored(run.folder)))),
        Section("latency", "Latency",
                (*_some(times.latencies(measured, names)), *times.sustained(measured, names)),
                tuple(_parts_of_time(rows, names))),
        Section("fleet", "The fleet's timeline",
                (*_some(fleet.gantt(when, _order(run))), *fleet.telemetry(when)),
                tuple(_failures(when))),
    ]  # fmt: skip
    found = [section for section in every if _shows(section)]
    if rows and run.store is None:
        said = "The store of this run is not on this computer: no curves, no raw times."
        found.append(Section("left-out", "Left out", texts=(said,)))
    return found


def _shows(section: Section) -> bool:
    drawn = section.charts or section.tables or section.drawings
    return bool(drawn or (section.id in ("pareto", "real") and section.texts))


def _some(*charts: Chart | None) -> tuple[Chart, ...]:
    return tuple(chart for chart in charts if chart is not None)


def _order(run: Run) -> list[str]:
    return list(dict.fromkeys(cell.board for cell in run.state.cells.values()))


def _of_detection(run: Run, names: Mapping[str, str]) -> list[Section]:
    """What only a detector's run has."""
    if all(row.detection is None for row in run.results):
        return []
    curved = detection.precision_recall(figures.precision_recall_curves(run), run.results, names)
    said, drawings = detection.worst(run, names)
    return [
        Section("precision", "Precision, recall and size",
                _some(curved, detection.by_height(run.results, names)), pair=True),
        Section("worst", "The worst pictures", texts=(said,) if said else (), drawings=drawings),
    ]  # fmt: skip


def _cross(run: Run) -> Section:
    tables = (*cross_tables(run.results), *scored_tables(run.folder / "scored" / CROSS))
    said = "Who enrolled (across) against who searches (down): Rank1 / TAR, percent."
    return Section("cross", "Gallery × probe", tables=tables, texts=(said,))


def _significant(rows: Sequence[CellResult]) -> str:
    compared = [row for row in rows if row.difference is not None]
    real = [row for row in compared if row.difference is not None and row.difference.real]
    if not real:
        return (
            f"None of {len(compared)} rows differs significantly from float32 "
            f"({judged(rows).test}, Holm over the rows): do not rank the rows."
        )
    listed = ", ".join(row.hardware for row in real[:20]) + (" …" if len(real) > 20 else "")
    return (
        f"{share(len(real), len(compared), 'row')} {form(len(real), 'differs')} significantly "
        f"from float32 ({judged(rows).test}, Holm over the rows, p < 0.05): {listed}."
    )


def _parts_of_time(rows: Sequence[CellResult], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Where the time of an inference goes, a line a measurement."""
    lines = []
    for row in rows:
        latency = row.latency
        if latency is None or row.mixed:
            continue
        parts = [latency.pre, latency.device, latency.post, latency.end_to_end]
        link = latency.transfer
        lines.append(
            [
                names[row.name],
                *(_one_line(part.p50_ms if part else None) for part in parts),
                _one_line(link.image_ms if link else None),
                _one_line(latency.device.p90_ms),
                _one_line(latency.device.p99_ms),
                _one_line(latency.device.mad_ms),
                energy_text(row) or "not measured",
                _verdict(row),
                ", ".join(latency.unseen) or "nothing",
            ]
        )
    if not lines:
        return []
    head = ["Row", "Pre", "Device", "Post", "End to end", "Transfer", "Device p90", "p99", "MAD"]
    head += ["Energy", "Verdict", "Not reported by the board"]
    title = "Where the time of one inference goes: medians; transfer is no part of the others"
    return [{"title": title, "head": head, "body": lines}]


def _verdict(row: CellResult) -> str:
    """With a word for each reason: the sentences are in the notes and the provenance."""
    reasons = row.verdict_reasons or [row.verdict_reason]
    words = ", ".join(reason.partition(":")[0] for reason in reasons if reason)
    return f"{row.verdict}: {words}" if words else row.verdict


def _one_line(ms: float | None) -> str:
    return milliseconds(ms, 3).replace(" ", "\u00a0")


def _failures(when: Timeline) -> list[dict[str, Any]]:
    lines = [
        (
            span.lane,
            f"{span.start - when.began:.1f} s",
            span.step,
            f"attempt {span.attempt}: {span.outcome}",
            plain(span.message),
        )
        for span in when.spans
        if span.outcome != "done"
    ]
    lines += [
        (lane, f"{start - when.began:.1f} s", "", f"out for {end - start:.1f} s", plain(reason))
        for lane, start, end, reason in when.down
    ]
    if not lines:
        return []
    lines.sort(key=lambda line: float(line[1].split()[0]))
    head = ["Where", "At", "Step", "What", "Why"]
    return [{"title": "What went wrong", "head": head, "body": lines}]
