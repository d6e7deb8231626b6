"""`farm runs`: what is kept, newest last; `--row NAME`: a row's figures over all runs."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.reporting.listing import listed, trend
from orchestrator.reporting.table import DASH, far_text, interval, percent
from orchestrator.results import Estimate

STYLES = {"complete": "green", "bug": "red", "wrong input": "red"}


def runs(arguments: argparse.Namespace) -> int:
    """List runs, or a row over them."""
    folder = Path(arguments.runs)
    points = trend(folder, arguments.row) if arguments.row else None
    found = points if points is not None else [run.summary for run in listed(folder)]
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    console = Console(highlight=False)
    if points is not None:
        console.print(_trend(points))
        if len({point["test_set"] for point in points}) > 1:
            console.print("Runs of different test sets: their rates are not comparable.")
    elif found:
        console.print(_runs(found))
    else:
        console.print(f"no runs in {folder} yet; `farm run` makes one")
    return 0


def _runs(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Run", "Began", "Took", "Outcome", "Rows", "Matrix", ""):
        table.add_column(name, overflow="fold", no_wrap=name in ("Run", "Began", "Outcome"))
    for run in found:
        part = [f"--limit {run['limit']}"] if run["limit"] else []
        part += [f"--only {name}" for name in run["only"]]
        part += ["from the store"] if run["cached"] else []
        table.add_row(
            run["run"],
            _clock(run["began"]),
            f"{run['seconds']:.0f} s",
            Text(run["outcome"], STYLES.get(run["outcome"], "yellow")),
            f"{run['rows_done']} of {run['rows']}",
            Text(run["matrix"] or DASH),
            Text(", ".join(part), "dim"),
        )
    return table


def _trend(points: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    far = far_text(points[-1]["tar"]["far_target"])
    for name in ("Run", "Began", "Executed by", "Time", "Rank1", f"TAR@FAR<={far}", "Test set", ""):
        table.add_column(name, overflow="fold", no_wrap=name in ("Run", "Began"))
    for point in points:
        tar = point["tar"]
        table.add_row(
            point["run"],
            _clock(point["began"]),
            point["executed_by"],
            DASH if point["p50_ms"] is None else f"{point['p50_ms']:.1f} ms",
            interval(Estimate(**point["rank1"])),
            percent(tar["value"]) if tar["available"] else "n/a",
            point["test_set"][:8],
            Text(point["verdict"] + (", partial" if point["partial"] else ""), "dim"),
        )
    return table


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
