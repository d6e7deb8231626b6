"""`farm compare A B`: two runs row by row; `farm compare A published`: beside that table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.audit.sentences import leak_notes
from orchestrator.cli.results.taking import take
from orchestrator.columns.tasks import Rate, judged
from orchestrator.errors import UserError
from orchestrator.reporting.analysis.compare import (
    RunComparison,
    beside_published,
    compare_runs,
    grouped,
)
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.analysis.pairing import Change, RowPair
from orchestrator.reporting.tables.fitting import Column, fitted, print_line
from orchestrator.reporting.tables.published import NOT_COMPARABLE, load_published
from orchestrator.reporting.tables.table import DASH, far_text, percent, tar_text, time_text
from orchestrator.store.run_folder import LATEST

PUBLISHED = "published"
PUBLISHED_COLUMNS = (("Time", 4), ("Rank1", 0), ("TAR", 1))


def compare(runs: Path, one: str, other: str, *, as_json: bool) -> int:
    """Print the comparison; always 0, since a difference is no failure (see `farm gate`).

    Args:
        one, other: names of runs; one of them may be `published`, the published table.
    """
    console = Console(highlight=False)
    if PUBLISHED in (one, other):
        name = other if one == PUBLISHED else one
        run = take(runs, LATEST if name == PUBLISHED else name)
        _published(console, run, as_json=as_json)
        return 0
    first, second = take(runs, one), take(runs, other)
    found = compare_runs(first, second)
    if as_json:
        print(json.dumps(found.to_json(), indent=1, allow_nan=False))
    else:
        show(console, found)
    return 0


def show(console: Console, found: RunComparison) -> None:
    """The comparison as a table with notes."""
    console.print(f"{found.first}  →  {found.second}", style="bold")
    if found.rows:
        console.print(rows_table(found, console.width))
        console.print()
    for note in notes(found):
        console.print(Text(note, "dim"), soft_wrap=False)


def rows_table(found: RunComparison, width: int) -> Table:
    """The rows of both runs; times only where a row has one in both.

    Figures of both runs go before their differences, times before rates.
    """
    by = judged([pair.first for pair in found.rows])
    columns = [Column("Row")]
    for rate in by.rates:
        name, main = rate.heading.partition("@")[0], rate is by.main
        columns.append(Column(name, drop=4 if main else 5, right=True))
        columns.append(Column(f"Δ {name}", drop=0 if main else 1, right=True))
    if any(pair.time for pair in found.rows):
        columns += [Column("p50", drop=6, right=True), Column("Δ p50", drop=2, right=True)]
    texts = [_texts(pair, by.rates)[: len(columns)] for pair in found.rows]
    return fitted(columns, texts, width)


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


def _texts(pair: RowPair, rates: Sequence[Rate]) -> list[str | Text]:
    first, second = pair.first, pair.second
    cells: list[str | Text] = [Text(pair.name)]
    for rate in rates:
        text = f"{rate.text(first, False)} → {rate.text(second, False)}"
        cells += [text, _change(pair, pair.changes.get(rate.key))]
    slower = (pair.time or {}).get(50)
    cells.append(f"{time_text(first)} → {time_text(second)}" if slower else DASH)
    if slower is None:
        cells.append(DASH)
    else:
        bounds = f"[{100 * (slower.low - 1):+.1f}, {100 * (slower.high - 1):+.1f}]"
        cells.append(f"{100 * (slower.ratio - 1):+.1f} % {bounds}")
    return cells


def _change(pair: RowPair, change: Change | None) -> Text:
    if pair.kind == "equal":
        return Text("equal", "dim")
    if change is None:
        return Text(DASH)
    style = "" if not change.real else "red" if change.value < 0 else "green"
    bounds = f"[{100 * change.low:+.2f}, {100 * change.high:+.2f}]"
    return Text(f"{100 * change.value:+.2f}{'*' if change.real else ''} {bounds}", style)


def _published(console: Console, run: Run, *, as_json: bool) -> None:
    if any(row.task != "recognition" for row in run.results):
        raise UserError(
            f"run {run.name} is of detectors, and the published table is of recognition",
            "`farm runs` lists the runs",
        )
    published = load_published()
    pairs = beside_published(run, published)
    if as_json:
        print(
            json.dumps({"run": run.name, "note": NOT_COMPARABLE, "rows": _plain(pairs)}, indent=1)
        )
        return
    far = far_text(run.results[0].tar.far_target) if run.results else far_text(published.far)
    columns = (
        Column("Row"),
        Column("Hardware", drop=3),
        Column("Time", drop=2, right=True),
        Column("Rank1", right=True),
        Column(f"TAR@FAR<={far}", right=True),
        *(Column(f"published {name}", drop=d, right=True) for name, d in PUBLISHED_COLUMNS),
    )
    rows: list[list[str | Text]] = []
    for row, other in pairs:
        theirs = (
            [f"{other['time_ms']} ms", f"{other['rank1']:.2f}", f"{other['tar']:.2f}"]
            if other
            else [DASH] * 3
        )
        ours = [time_text(row), percent(row.rank1.value), tar_text(row.tar, False)]
        rows.append([row.name, row.hardware, *ours, *theirs])
    console.print(fitted(columns, rows, console.width))
    console.print()
    for note in leak_notes(run.results):
        console.print(Text(note, "dim"))
    console.print(NOT_COMPARABLE[0].upper() + NOT_COMPARABLE[1:] + ".", style="bold")
    far = far_text(published.far)
    said = f"Published: {published.model} on {published.test_set}, TAR@FAR<={far}:"
    print_line(console, said, "dim")
    print_line(console, published.source, "dim")


def _plain(pairs: list[tuple[Any, dict[str, Any] | None]]) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "hardware": row.hardware,
            "executed_by": row.executed_by,
            "p50_ms": row.p50_ms,
            "rank1": row.rank1.value,
            "tar": row.tar.value if row.tar.available else None,
            "published": other,
        }
        for row, other in pairs
    ]
