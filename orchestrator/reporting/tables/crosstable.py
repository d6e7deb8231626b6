"""The gallery x probe cross table: every probe encoder against every gallery it was searched in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from orchestrator.columns.texts import rate_text
from orchestrator.reporting.tables.fitting import Column, fits, fitted, print_line
from orchestrator.reporting.tables.table import DASH, percent, tar_text
from orchestrator.results import CellResult, Estimate, Tar

SAME = "itself"
BETWEEN, GALLERY = " / ", "Gallery by "
CROSS = "cross.json"
"""What `farm score --cross` leaves in a run's `scored` folder."""


def cross_tables(rows: Sequence[CellResult]) -> list[dict[str, Any]]:
    """One table a model and test set in which some probe encoder met more than one gallery.

    Returns:
        `title`, `head` (names of columns) and `body` (lines of texts) of each.
    """
    groups: dict[tuple[str, str], list[CellResult]] = {}
    for row in rows:
        groups.setdefault((row.model, row.test_set.hash), []).append(row)
    tables = []
    for (model, _), members in groups.items():
        found: dict[str, dict[str, CellResult]] = {}
        for row in members:
            keys = row.provenance.get("keys", {})
            probe, gallery = keys.get("probe"), row.provenance.get("gallery", {}).get("encoder")
            if not probe or not gallery:
                continue
            found.setdefault(probe, {})[gallery if row.mixed else SAME] = row
        galleries = list(dict.fromkeys(name for line in found.values() for name in line))
        if not any(len(line) > 1 for line in found.values()):
            continue
        body = []
        for line in found.values():
            first = next(iter(line.values()))
            cells = [_text(line[name]) if name in line else DASH for name in galleries]
            body.append((first.hardware.rstrip("*"), first.executed_by, *cells))
        head = ["Probe", "Executed by", *(GALLERY + name for name in galleries)]
        tables.append({"title": model, "head": head, "body": body})
    return tables


def _text(row: CellResult) -> str:
    return f"{percent(row.rank1.value)} / {tar_text(row.tar, with_interval=False)}"


def scored_tables(path: Path, with_intervals: bool = True) -> list[dict[str, Any]]:
    """The tables of a `cross.json`, in the form of `cross_tables`; none where there is no file."""
    try:
        tables = json.loads(path.read_text())["tables"]
    except FileNotFoundError:
        return []
    scored = []
    for table in tables:
        pairs = {(pair["gallery"], pair["probe"]): pair for pair in table["pairs"]}
        galleries = list(dict.fromkeys(gallery for gallery, _ in pairs))
        body = []
        for encoder in table["encoders"]:
            found = [pairs.get((gallery, encoder["name"])) for gallery in galleries]
            cells = [_both(pair, with_intervals) if pair else DASH for pair in found]
            body.append((encoder["name"], encoder["executed_by"], *cells))
        head = ["Probe", "Executed by", *(GALLERY + name for name in galleries)]
        scored.append({"title": f"{table['model']}: every encoder", "head": head, "body": body})
    return scored


def _both(pair: dict[str, Any], with_intervals: bool) -> str:
    rank1, tar = Estimate.model_validate(pair["rank1"]), Tar.model_validate(pair["tar"])
    return f"{rate_text(rank1, with_intervals)}{BETWEEN}{tar_text(tar, with_intervals)}"


def print_cross(console: Console, path: Path) -> None:
    """The tables of a `cross.json` for a terminal of this width.

    Intervals go first where they do not fit, then each pair of encoders takes a line.
    """
    whole, brief = scored_tables(path), scored_tables(path, with_intervals=False)
    for place, table in enumerate(whole):
        if place:
            console.print()
        print_line(console, f"{table['title']} (Rank1 / TAR, percent)")
        console.print(_for_terminal((table["body"], brief[place]["body"]), table, console.width))


def _for_terminal(bodies: Sequence[Any], table: dict[str, Any], width: int) -> Table:
    probe, by, *galleries = table["head"]
    shape = [Column(probe, names=True), Column(by, drop=1), *map(Column, galleries)]
    for body in bodies:
        if fits(shape, body, width):
            return fitted(shape, body, width)
    figures = (Column("Rank1", right=True), Column("TAR", right=True))
    columns = [Column(probe, wraps=True), Column("Gallery", wraps=True), *figures]
    whole, brief = (_pairs(body, galleries) for body in bodies)
    return fitted(columns, whole if fits(columns, whole, width) else brief, width)


def _pairs(body: Sequence[Any], galleries: Sequence[str]) -> list[tuple[str, ...]]:
    """A line for each pair of encoders: probe, gallery, Rank-1, TAR."""
    return [
        (line[0], gallery.removeprefix(GALLERY), *cell.split(BETWEEN))
        for line in body
        for gallery, cell in zip(galleries, line[2:], strict=True)
        if cell != DASH
    ]


def cross_text(table: dict[str, Any]) -> str:
    """A cross table as Markdown."""
    lines = [f"{table['title']} (Rank1 / TAR, percent)", ""]
    lines.append("| " + " | ".join(table["head"]) + " |")
    lines.append("|" + "---|" * len(table["head"]))
    lines += ["| " + " | ".join(cells) + " |" for cells in table["body"]]
    return "\n".join(lines)
