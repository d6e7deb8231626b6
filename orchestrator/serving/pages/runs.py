"""The list of runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.reporting.durations import duration
from orchestrator.serving.catalogue import Entry
from orchestrator.serving.pages.run import COLOURS

PAGE = 100


@dataclass(frozen=True)
class Asked:
    """What of the list is asked for.

    Attributes:
        words: each must be in what is shown of a run.
        outcome: only runs that ended so; empty for all.
        number: of the page, from 1.
        first: the run that the next click compares with another; empty for none.
    """

    words: str = ""
    outcome: str = ""
    number: int = 1
    first: str = ""


def runs_page(entries: Sequence[Entry], asked: Asked) -> dict[str, Any]:
    """What the list's template fills in."""
    words = asked.words.lower().split()
    found = [
        entry
        for entry in entries
        if (not asked.outcome or entry.outcome == asked.outcome)
        and (not words or all(word in _text(entry) for word in words))
    ]
    pages = max(1, -(-len(found) // PAGE))
    number = min(max(1, asked.number), pages)
    shown = found[(number - 1) * PAGE : number * PAGE]
    return {
        "asked": asked,
        "runs": [_line(entry) for entry in shown],
        "found": len(found),
        "total": len(entries),
        "number": number,
        "pages_of_list": pages,
        "outcomes": sorted({entry.outcome for entry in entries}),
        "first": asked.first if any(entry.name == asked.first for entry in entries) else "",
    }


def _line(entry: Entry) -> dict[str, Any]:
    about = entry.listed.summary
    return {
        "name": entry.name,
        "began": time.strftime("%Y-%m-%d %H:%M", time.localtime(about["began"])),
        "took": duration(about["seconds"]),
        "outcome": entry.outcome,
        "colour": COLOURS.get(entry.outcome, "neutral"),
        "rows": f"{about['rows_done']} of {about['rows']}",
        "matrix": about["matrix"] or "–",
        "part": _part(about),
    }


def _part(about: dict[str, Any]) -> str:
    part = [f"--limit {about['limit']}"] if about["limit"] else []
    part += [f"--only {name}" for name in about["only"]]
    part += ["from the store"] if about["cached"] else []
    return ", ".join(part)


def _text(entry: Entry) -> str:
    about = entry.listed.summary
    words = [entry.name, entry.outcome, about["matrix"] or "", _part(about), *entry.listed.rows]
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(about["began"]))
    return " ".join([*words, began]).lower()
