"""`farm runs`: what is kept, newest last; `--row NAME`: a row's figures over all runs."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.cli.parsing.project import NO_PROJECT
from orchestrator.cli.parsing.root import find_root
from orchestrator.columns.texts import milliseconds
from orchestrator.reporting.durations import duration
from orchestrator.reporting.tables.fitting import Column, fitted, print_line
from orchestrator.reporting.tables.listing import doubt, listed, trend
from orchestrator.reporting.tables.table import DASH

WORDS = {"bug": "internal error"}
STYLES = {"complete": "green", "bug": "red", "wrong input": "red"}


def show_runs(folder: Path, *, row: str | None, as_json: bool) -> int:
    """List the runs in a folder, or a row over them."""
    points = trend(folder, row) if row else None
    found = points if points is not None else [run.summary for run in listed(folder)]
    if as_json:
        print(json.dumps([_plain(each) for each in found], indent=1))
        return 0
    console = Console(highlight=False)
    if points is not None:
        console.print(trend_table(points, console.width))
        if len({point["test_set"] for point in points}) > 1:
            console.print("Runs of different test sets: their rates are not comparable.")
    elif found:
        console.print(runs_table(found, console.width))
    else:
        console.print(f"no runs in {_shown(folder)} yet; `farm run` begins one")
        if find_root(Path.cwd()) is None:
            print_line(console, NO_PROJECT)
    return 0


# The matrix first, then how long it took, then what part of it, then when.
COLUMNS = (
    Column("Run"),
    Column("Began", drop=1),
    Column("Took", drop=3, right=True),
    Column("Outcome"),
    Column("Rows"),
    Column("Matrix", drop=4),
    Column("Part", drop=2),
)


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    """For programs: times in ISO 8601, and as Unix seconds beside them."""
    moment = datetime.fromtimestamp(found["began"]).astimezone()
    return found | {"began": moment.isoformat(timespec="seconds"), "began_unix": found["began"]}


def runs_table(found: list[dict[str, Any]], width: int) -> Table:
    """Runs for a terminal of this width."""
    rows: list[list[str | Text]] = []
    for run in found:
        part = [f"--limit {run['limit']}"] if run["limit"] else []
        part += [f"--only {name}" for name in run["only"]]
        part += ["from the store"] if run["cached"] else []
        rows.append(
            [
                run["run"],
                _clock(run["began"]),
                duration(run["seconds"]),
                Text(
                    WORDS.get(run["outcome"], run["outcome"]), STYLES.get(run["outcome"], "yellow")
                ),
                f"{run['rows_done']} of {run['rows']}",
                run["matrix"] or DASH,
                Text(", ".join(part), "dim"),
            ]
        )
    return fitted(COLUMNS, rows, width)


def trend_table(points: list[dict[str, Any]], width: int) -> Table:
    """A row over its runs: the figures stay, verdict, test set and date go first."""
    rates = points[-1]["rates"]
    columns = (
        Column("Run"),
        Column("Began", drop=4),
        Column("Executed by", drop=2),
        Column("Time", drop=3, right=True),
        *(Column(rate["heading"], drop=0 if rate["main"] else 1, right=True) for rate in rates),
        Column("Test set", drop=5),
        Column("Verdict", drop=6),
    )
    rows: list[list[str | Text]] = []
    for point in points:
        texts = {rate["heading"]: rate["text"] for rate in point["rates"]}
        rows.append(
            [
                point["run"],
                _clock(point["began"]),
                point["executed_by"],
                f"{milliseconds(point['p50_ms'])} {doubt(point)}".rstrip(),
                *(texts.get(rate["heading"], DASH) for rate in rates),
                point["test_set"][:8],
                Text(point["verdict"] + (", partial" if point["partial"] else ""), "dim"),
            ]
        )
    return fitted(columns, rows, width)


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _shown(folder: Path) -> str:
    return str(folder) if folder.is_absolute() else f"./{folder}"
