"""`farm compare A B`: two runs row by row; `farm compare A published`: beside that table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.audit.sentences import leak_notes
from orchestrator.cli.results.taking import take
from orchestrator.columns.tasks import judged
from orchestrator.errors import UserError
from orchestrator.reporting.analysis.compare import RunComparison, beside_published, compare_runs
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.tables.comparison import headings, notes, rows
from orchestrator.reporting.tables.fitting import Column, fitted, print_line
from orchestrator.reporting.tables.published import NOT_COMPARABLE, load_published
from orchestrator.reporting.tables.table import DASH, far_text, percent, tar_text, time_text
from orchestrator.store.run_folder import LATEST

PUBLISHED = "published"
STYLES = {"": "", "same": "dim", "worse": "red", "better": "green"}
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
    main = judged([pair.first for pair in found.rows]).main.heading.partition("@")[0]
    drops = {f"Δ {main}": 0, main: 4, "p50": 6, "Δ p50": 2}
    columns = [Column("Row")]
    for name in headings(found):
        drop = drops.get(name, 1 if name.startswith("Δ") else 5)
        columns.append(Column(name, drop=drop, right=True))
    texts: list[list[str | Text]] = [
        [Text(name), *(Text(each.text, STYLES[each.tone]) for each in cells)]
        for name, cells in rows(found)
    ]
    return fitted(columns, texts, width)


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
