"""The gallery x probe cross table: every probe encoder against every gallery it was searched in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.reporting.table import DASH, percent, tar_text
from orchestrator.results import CellResult

SAME = "itself"


def cross_tables(rows: Sequence[CellResult]) -> list[dict[str, Any]]:
    """One table a model and test set in which some probe encoder met more than one gallery.

    Returns:
        `title`, `head` (names of columns) and `body` (lines of texts) of each.
    """
    groups: dict[tuple[str, str], list[CellResult]] = {}
    for row in rows:
        groups.setdefault((row.model, row.test_set.hash), []).append(row)
    made = []
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
        head = ["Probe", "Executed by", *(f"Gallery by {name}" for name in galleries)]
        made.append({"title": model, "head": head, "body": body})
    return made


def _text(row: CellResult) -> str:
    return f"{percent(row.rank1.value)} / {tar_text(row.tar, with_interval=False)}"
