"""report.html: one self-contained file from a run's events and what the store holds of it."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from orchestrator import __version__
from orchestrator.audit.words import leak_notes
from orchestrator.reporting.analysis import figures
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.analysis.timeline import Timeline, timeline
from orchestrator.reporting.html import charts, explained, gantt
from orchestrator.reporting.tables.crosstable import CROSS, cross_tables, scored_tables
from orchestrator.reporting.tables.table import (
    COLUMNS,
    energy_text,
    extra,
    far_text,
    footnotes,
    interval,
    percent,
    tar_text,
    time_text,
)
from orchestrator.reporting.text import plain
from orchestrator.results import CellResult, Estimate

NUMBERS = ("#", "Time", "Rank1", "Δ Rank1")


def write_report(run: Run, path: Path, columns: Sequence[str] = ()) -> None:
    """Write the report of a run, replacing an older one in one step."""
    text = report_html(run, columns)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def report_html(run: Run, columns: Sequence[str] = ()) -> str:
    """The report as text, with `columns` beside the usual ones.

    What the store no longer has is left out, and said.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("orchestrator.reporting.html", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    script = resources.files("orchestrator.reporting.html").joinpath("report.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    sections = _sections(run)
    for section in sections:
        for chart in section["charts"]:
            chart["svg"] = Markup(chart["svg"])
    asked = [name for name in columns if name != "difference"]  # stands there anyway
    more = extra(asked, run.results)
    rows = [
        _row(number, row) | {"more": [text(row, True) for _, text in more]}
        for number, row in enumerate(run.results, 1)
    ]
    parts = [{"id": "table", "title": "Table"}, *sections]
    if rows:
        parts.append({"id": "provenance", "title": "Where the figures come from"})
    return environment.get_template("report.html.j2").render(
        title=f"farm report {run.name}",
        heading=f"Run {run.name}",
        facts=_facts(run),
        alerts=_alerts(run),
        parts=parts,
        columns=[
            {"name": n, "number": n in NUMBERS or n[:3] == "TAR"}
            for n in _columns(run, [name for name, _ in more])
        ],
        rows=rows,
        verdict_line=_verdicts(run.results),
        notes=[plain(note) for note in footnotes(run.results, run.failures)],
        sections=sections,
        script=Markup(script),
        script_hash=Markup(f"sha256-{digest}"),
        footer=f"Made by farm {__version__} from {run.folder.name}/events.jsonl and the store.",
    )


def _columns(run: Run, more: Sequence[str]) -> list[str]:
    far = next((row.tar.far_target for row in run.results), 1e-3)
    names = [name.format(far=far_text(far)) for name in COLUMNS]
    return ["#", *names[:4], "Executed by", *names[4:], "Δ Rank1", *more, "Verdict"]


def _facts(run: Run) -> list[tuple[str, str]]:
    started = run.state.started
    facts = [
        ("Outcome", run.outcome),
        ("Rows", f"{len(run.results)} of {len(run.state.cells)}"),
        ("Began", time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(run.began))),
        ("Took", f"{run.seconds:.0f} s"),
    ]
    if started is not None:
        facts += [
            ("Matrix", started.matrix),
            ("Matrix sha256", started.matrix_sha256[:16]),
            ("Inventory", started.inventory),
            ("farm", started.farm),
            ("Steps from the store", f"{run.state.cached} of {run.state.total}"),
        ]
    if run.results:
        test = run.results[0].test_set
        facts.append(
            ("Test set", f"N = {test.gallery:,}, {test.probes:,} probes, {test.hash[:12]}")
        )
        facts += [
            ("Images", note)
            for note in dict.fromkeys(n for r in run.results for n in r.test_set.notes)
        ]
    return facts


def _alerts(run: Run) -> list[str]:
    alerts = []
    if run.state.finished is None:
        alerts.append("This run has no end in its log: it goes on, or was lost.")
    elif run.outcome != "complete":
        alerts.append(
            f"This run is not complete: {run.outcome}. {run.state.finished.message}".strip()
        )
    alerts += leak_notes(run.results)
    if any(row.partial for row in run.results):
        alerts.append("Partial: only a part of the test set was used (--limit).")
    return alerts


def _verdicts(rows: Sequence[CellResult]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.verdict] = counts.get(row.verdict, 0) + 1
    words = {
        "VALID": "with a valid time",
        "SUSPECT": "with a suspect time",
        "EMULATED": "run on this host (emulated), without a time",
        "SIMULATED": "run by a simulator, without a time",
    }
    said = [f"{count} {words.get(verdict, verdict)}" for verdict, count in counts.items()]
    return f"Rows: {', '.join(said)}."


def _row(number: int, row: CellResult) -> dict[str, Any]:
    change = row.difference
    real = change is not None and bool(change.real)
    value = (change.rank1.value or 0.0) if change is not None else 0.0
    return {
        "number": number,
        "name": row.name,
        "hardware": row.hardware + (" (partial)" if row.partial else ""),
        "provider": row.provider,
        "type": row.type,
        "backend": row.backend,
        "executed_by": row.executed_by,
        "time": time_text(row, with_reasons=False),
        "p50": f"{row.latency.device.p50_ms:.6f}" if row.latency else "",
        "granularity": row.granularity or "-",
        "symmetry": row.symmetry or "-",
        "rank1": percent(row.rank1.value),
        "rank1_i": _interval(row.rank1),
        "rank1_v": _number(row.rank1.value),
        "tar": tar_text(row.tar, with_interval=False),
        "tar_i": _interval(row.tar) if row.tar.available else "n < 1/FAR",
        "tar_reason": row.tar.reason,
        "tar_v": _number(row.tar.value if row.tar.available else None),
        "change": f"{100 * value:+.2f}" if change is not None else "",
        "change_i": "" if change is None else "real" if real else "noise",
        "change_v": _number(value if change is not None else None),
        "change_class": "" if not real else "worse" if value < 0 else "better",
        "verdict": row.verdict,
        "reason": row.verdict_reason,
        "provenance": _provenance(row),
    }


def _interval(estimate: Estimate) -> str:
    text = interval(estimate)
    return text[text.index("[") :] if "[" in text else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _provenance(row: CellResult) -> list[dict[str, str]]:
    """What stands behind each figure of a row, as `name  value` lines."""
    come = row.provenance
    keys = come.get("keys", {})

    def block(ident: str, title: str, parts: Mapping[str, Any]) -> dict[str, str]:
        lines = list(_flat(parts))
        width = min(36, max((len(name) for name, _ in lines), default=0))
        text = "\n".join(f"{name:<{width}}  {value}" for name, value in lines)
        return {"id": ident, "title": title, "text": text}

    latency = row.latency
    who = "another board" if row.executed_by == "board" else "this host"
    stood_in = f" (run on {who}: the board has none)" if latency is None else ""
    time_facts: dict[str, Any] = {
        "executed_by": row.executed_by,
        "verdict": f"{row.verdict} {row.verdict_reason}".strip(),
        "key": keys.get("measure", ""),
    }
    if latency is not None:
        time_facts["device"] = latency.device.model_dump()
        time_facts["end_to_end"] = latency.end_to_end.model_dump()
    accuracy = {
        "rank1": row.rank1.model_dump(),
        "tar": {far_text(tar.far_target): tar.model_dump() for tar in row.tar_all or [row.tar]},
        "failed_images": row.failed_images,
        "warnings": ", ".join(row.warnings) or "none",
        "test_set": row.test_set.model_dump(),
        "score": come.get("score", {}) | {"key": keys.get("score", "")},
        "gallery": come.get("gallery", {}) | {"key": keys.get("gallery", "")},
        "probe": come.get("probe", {}) | {"key": keys.get("probe", "")},
    }
    blocks = [
        block("time", f"Time{stood_in}", time_facts | come.get("measure", {})),
        block("accuracy", "Rank1 and TAR", accuracy),
    ]
    if row.difference is not None:
        facts = row.difference.model_dump() | {"key": keys.get("compare", "")}
        blocks.append(block("difference", "Difference from float32", facts))
    artifact = {
        "sha256": row.artifact_sha256,
        "bytes": row.artifact_bytes,
        "key": keys.get("artifact", ""),
        "model": row.model,
        "model_sha256": come.get("model_sha256", ""),
        "dtype": row.dtype,
        "calibrator": row.calibrator or "none",
    }
    blocks.append(block("artifact", "What ran", artifact | come.get("artifact", {})))
    return blocks


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, inner in value.items():
        path = f"{prefix}{name}"
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{path}.")
        elif isinstance(inner, float):
            yield path, f"{inner:.6g}"
        else:
            yield path, "–" if inner is None else str(inner)


def _sections(run: Run) -> list[dict[str, Any]]:
    names = figures.numbered(run.results)
    times = [each for each in figures.measured(run) if each.on_board]
    when = timeline(run.events)
    made = [
        _section(
            "pareto",
            "Accuracy against latency",
            [(charts.accuracy_latency(run.results, names), PARETO)],
        ),
        _section(
            "real",
            "Which differences from float32 are real",
            [(charts.differences(run.results, names), REAL)],
            texts=[_real_or_not(run.results)],
        ),
        _section(
            "curves",
            "DET and CMC",
            [
                (charts.det(figures.det_curves(run), names), DET),
                (charts.cmc(figures.cmc_curves(run), names), CMC),
            ],
            texts=["Rows with equal scores share a curve."],
        ),
        _section(
            "cross",
            "Gallery × probe",
            tables=[
                *cross_tables(run.results),
                *scored_tables(run.folder / "scored" / CROSS),
            ],
            texts=["Who enrolled (across) against who searches (down): Rank1 / TAR, percent."],
        ),
        _section(
            "layers",
            "Layers against float32",
            explained.charts(explained.kept(run.folder)),
            side_by_side=False,
        ),
        _section(
            "latency",
            "Latency",
            [
                (charts.latencies(times, names), LATENCY),
                (charts.sustained(times, names), SUSTAINED),
            ],
            tables=_parts_of_time(run.results),
            side_by_side=False,
        ),
        _section(
            "fleet",
            "The fleet's timeline",
            [(gantt.gantt(when), GANTT), (gantt.telemetry(when), TELEMETRY)],
            tables=_failures(when),
            side_by_side=False,
        ),
    ]
    found = [section for section in made if section["charts"] or section["tables"]]
    if run.results and run.store is None:
        found.append(
            _section(
                "left-out",
                "Left out",
                texts=["The store of this run is not on this computer: no curves, no raw times."],
            )
        )
    return found


PARETO = (
    "The line joins rows that no other row beats in both. Filled: timed on the board. "
    "Numbers are the table's rows; red and green differ significantly from float32."
)
REAL = "Bars are 95 % intervals, paired over the same probes; grey: not significant."
DET = "FAR is per search, with the rank condition, as in the table's TAR: lower is better."
CMC = "Ties count against the mate; failed images count as misses: higher is better."
LATENCY = (
    "Line: 1st to 99th percentile; bar: middle half; tick: median; dot: slowest. "
    "Amber: the verdict is SUSPECT. Grey: run on this host (emulated); not a board's time."
)
SUSTAINED = (
    "Each board against its own median, over elapsed seconds with the pauses between blocks: a "
    "rising line is a board that slows down. Below, what its sensors said meanwhile."
)
GANTT = "Red edge: a failed attempt (+ tried again, × given up); hatched: board out of the run."
TELEMETRY = "As the boards tell it themselves."


def _section(
    ident: str,
    title: str,
    drawn: Sequence[tuple[str, str]] = (),
    *,
    tables: Sequence[Mapping[str, Any]] = (),
    texts: Sequence[str] = (),
    side_by_side: bool = True,
) -> dict[str, Any]:
    return {
        "id": ident,
        "title": title,
        "charts": [{"svg": svg, "caption": said, "title": title} for svg, said in drawn if svg],
        "tables": list(tables),
        "texts": list(texts),
        "side_by_side": side_by_side,
    }


def _parts_of_time(rows: Sequence[CellResult]) -> list[dict[str, Any]]:
    """Where the time of an inference goes, a line a measurement."""
    lines = []
    for number, row in enumerate(rows, 1):
        latency = row.latency
        if latency is None or row.mixed:
            continue
        parts = [latency.pre, latency.device, latency.post, latency.end_to_end]
        link = latency.transfer
        lines.append(
            [
                f"{number} {row.hardware}",
                *("" if part is None else f"{part.p50_ms:.3f}" for part in parts),
                "" if link is None else f"{link.image_ms:.3f}",
                f"{latency.device.p90_ms:.3f}",
                f"{latency.device.p99_ms:.3f}",
                f"{latency.device.mad_ms:.3f}",
                energy_text(row) or "not measured",
                f"{row.verdict} {row.verdict_reason}".strip(),
                ", ".join(latency.unseen) or "nothing",
            ]
        )
    if not lines:
        return []
    head = ["Row", "Pre", "Device", "Post", "End to end", "Transfer", "Device p90", "p99", "MAD"]
    head += ["Energy", "Verdict", "Not reported by the board"]
    title = "Where the time of one inference goes: medians in ms; transfer is no part of the others"
    return [{"title": title, "head": head, "body": lines}]


def _real_or_not(rows: Sequence[CellResult]) -> str:
    compared = [row for row in rows if row.difference is not None]
    real = [row for row in compared if row.difference is not None and row.difference.real]
    if not real:
        return (
            f"None of {len(compared)} rows differs significantly from float32 "
            "(McNemar's test, Holm over the rows): do not rank the rows."
        )
    listed = ", ".join(row.hardware for row in real[:20]) + (" …" if len(real) > 20 else "")
    return (
        f"{len(real)} of {len(compared)} rows differ significantly from float32 "
        f"(McNemar's test, Holm over the rows, p < 0.05): {listed}."
    )


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
