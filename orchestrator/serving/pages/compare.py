"""Two runs compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.reporting.analysis.compare import compare_runs
from orchestrator.reporting.analysis.history import load_run
from orchestrator.reporting.tables.comparison import headings, notes, rows

TONES = {"": "", "same": "dim", "worse": "worse", "better": "better"}


def compare_page(first: Path, second: Path) -> dict[str, Any]:
    """What the comparison's template fills in, as `farm compare` has it.

    Args:
        first, second: the runs' folders; the first is the baseline.
    """
    found = compare_runs(load_run(first), load_run(second))
    return {
        "columns": headings(found) if found.rows else [],
        "rows": [
            (name, [(each.text, TONES[each.tone]) for each in cells]) for name, cells in rows(found)
        ],
        "notes": notes(found),
    }
