"""Two runs compared, as texts: the cells of each row, and what must be said beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.audit.sentences import leak_notes
from orchestrator.columns.tasks import Rate, judged
from orchestrator.columns.texts import DASH, time_text
from orchestrator.reporting.analysis.compare import RunComparison, grouped
from orchestrator.reporting.analysis.pairing import Change, RowPair

Tone = Literal["", "same", "worse", "better"]


@dataclass(frozen=True)
class Cell:
    """A text, and what a difference in it is: significant for the worse or the better, or none."""

    text: str
    tone: Tone = ""


def headings(found: RunComparison) -> list[str]:
    """The columns beside the row's name; times only where a row has one in both runs."""
    by = judged([pair.first for pair in found.rows])
    names = [rate.heading.partition("@")[0] for rate in by.rates]
    columns = [column for name in names for column in (name, f"Δ {name}")]
    return [*columns, "p50", "Δ p50"] if any(pair.time for pair in found.rows) else columns


def rows(found: RunComparison) -> list[tuple[str, list[Cell]]]:
    """Each row's name and its texts, one for each of `headings`."""
    rates, count = judged([pair.first for pair in found.rows]).rates, len(headings(found))
    return [(pair.name, _texts(pair, rates)[:count]) for pair in found.rows]


def _texts(pair: RowPair, rates: Sequence[Rate]) -> list[Cell]:
    first, second = pair.first, pair.second
    texts = []
    for rate in rates:
        texts.append(Cell(f"{rate.text(first, False)} → {rate.text(second, False)}"))
        texts.append(_changed(pair, pair.changes.get(rate.key)))
    slower = (pair.time or {}).get(50)
    texts.append(Cell(f"{time_text(first)} → {time_text(second)}" if slower else DASH))
    if slower is None:
        texts.append(Cell(DASH))
    else:
        bounds = f"[{100 * (slower.low - 1):+.1f}, {100 * (slower.high - 1):+.1f}]"
        texts.append(Cell(f"{100 * (slower.ratio - 1):+.1f} % {bounds}"))
    return texts


def _changed(pair: RowPair, change: Change | None) -> Cell:
    if pair.kind == "equal":
        return Cell("equal", "same")
    if change is None:
        return Cell(DASH)
    tone: Tone = "" if not change.real else "worse" if change.value < 0 else "better"
    bounds = f"[{100 * change.low:+.2f}, {100 * change.high:+.2f}]"
    return Cell(f"{100 * change.value:+.2f}{'*' if change.real else ''} {bounds}", tone)


def notes(found: RunComparison) -> list[str]:
    """What must be said beside the differences."""
    kinds = {pair.kind for pair in found.rows}
    said = []
    if "paired" in kinds:
        by = judged([pair.first for pair in found.rows])
        others = [rate.heading.partition("@")[0] for rate in by.rates if rate is not by.main]
        tests = f"{by.test} for {by.main.heading}" + (
            f", bootstrap for {', '.join(others)}" if others and by.test == "McNemar" else ""
        )
        said.append(
            f"Points with [95 % interval], over {by.over}; * significant ({tests}, Holm over the "
            "rows). Without *: not significant."
        )
    if any(pair.time for pair in found.rows):
        said.append(
            "Times: one session each; the interval does not hold what varies between sessions."
        )
    total = len(found.rows)
    said += grouped(((pair.name, pair.why) for pair in found.rows if pair.why), total)
    untimed = [(pair.name, f"time left out: {pair.no_time}") for pair in found.rows if pair.no_time]
    said += grouped(untimed, total)
    other = [pair for pair in found.rows if pair.first.model != pair.second.model]
    models = ((p.name, f"other model: {p.first.model}, {p.second.model}") for p in other)
    said += grouped(models, total)
    said += leak_notes(row for pair in found.rows for row in (pair.first, pair.second))
    said += [f"{name}: only in {found.first}" for name in found.only_first]
    said += [f"{name}: only in {found.second}" for name in found.only_second]
    return said or ["The two runs have no row in common."]
