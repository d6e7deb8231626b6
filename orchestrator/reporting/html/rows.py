"""The page's main table: one entry for each row, with the figures that it is sorted by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.columns import asked as columns_of
from orchestrator.columns.base import Part
from orchestrator.columns.tasks import Judged, Rate, judged
from orchestrator.columns.texts import interval, milliseconds, p_text
from orchestrator.results import CellResult, Estimate, Tar, Verdict

DESCRIBING = (
    "#",
    "Hardware",
    "Provider",
    "Type",
    "Backend",
    "Time",
    "Granularity",
    "Symmetry",
)


def columns(rows: Sequence[CellResult], asked: Sequence[str]) -> list[dict[str, Any]]:
    """Name of each column, and whether it holds numbers."""
    found = judged(rows)
    more = _more(rows, asked)
    rates = [*(rate.heading for rate in found.rates), f"Δ {found.main.heading}"]
    names = [*DESCRIBING, *rates, *(part.heading for part in more)]
    numbers = ["#", "Time", *rates, *(part.heading for part in more if part.right)]
    return [{"name": name, "number": name in numbers} for name in names]


def table_rows(rows: Sequence[CellResult], asked: Sequence[str]) -> list[dict[str, Any]]:
    """What the page's template fills in for each row."""
    more, found = _more(rows, asked), judged(rows)
    return [
        _row(number, row, found)
        | {"more": [{"text": part.text(row, True), "number": part.right} for part in more]}
        for number, row in enumerate(rows, 1)
    ]


def _more(rows: Sequence[CellResult], asked: Sequence[str]) -> list[Part]:
    return columns_of([name for name in asked if name != "difference"], rows)  # is there anyway


def verdicts(rows: Sequence[CellResult]) -> str:
    """How many rows have a valid time, a suspect one, or none and why."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.verdict] = counts.get(row.verdict, 0) + 1
    words: dict[str, str] = {
        Verdict.VALID: "with a valid time",
        Verdict.SUSPECT: "with a suspect time",
        Verdict.EMULATED: "run on this host (emulated), without a time",
        Verdict.SIMULATED: "run by a simulator, without a time",
    }
    said = [f"{count} {words.get(verdict, verdict)}" for verdict, count in counts.items()]
    return f"Rows: {', '.join(said)}."


def _row(number: int, row: CellResult, by: Judged) -> dict[str, Any]:
    found = row.difference
    significant = found is not None and bool(found.real)
    value = (by.main.change(found).value or 0.0) if found is not None else 0.0
    return {
        "number": number,
        "name": row.name,
        "hardware": row.hardware,
        "provider": row.provider,
        "type": row.type,
        "backend": row.backend,
        "time": milliseconds(row.p50_ms),
        "time_note": _time_note(row),
        "p50": "" if row.p50_ms is None else f"{row.p50_ms:.6f}",
        "granularity": row.granularity or "-",
        "symmetry": row.symmetry or "-",
        "rates": [_rate(row, rate) for rate in by.rates],
        "change": f"{100 * value:+.2f}" if found is not None else "",
        "change_mark": "" if not significant else "↓" if value < 0 else "↑",
        "change_i": "" if found is None or found.p_holm is None else p_text(found.p_holm),
        "change_v": _number(value if found is not None else None),
        "change_class": "" if not significant else "worse" if value < 0 else "better",
        "verdict": row.verdict,
        "reason": row.verdict_reason,
    }


def _rate(row: CellResult, rate: Rate) -> dict[str, str]:
    """A rate's text, interval, number to sort by, and why it has none."""
    found = rate.of(row)
    absent = isinstance(found, Tar) and not found.available
    return {
        "text": rate.text(row, False),
        "interval": "n < 1/FAR" if absent else _interval(found),
        "value": _number(None if absent else found.value),
        "reason": found.reason if isinstance(found, Tar) else "",
    }


def _time_note(row: CellResult) -> str:
    """What the Time column says beside a figure: nothing where the verdict is VALID, and who ran
    it where the backend's name does not say so."""
    if row.verdict == Verdict.SUSPECT:
        return row.verdict
    if row.latency is not None and row.verdict == Verdict.VALID:
        return ""
    return "" if row.executed_by in row.backend else row.executed_by


def _interval(estimate: Estimate) -> str:
    text = interval(estimate)
    return text[text.index("[") :] if "[" in text else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
