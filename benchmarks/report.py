"""The report of a run with 500 rows: how long until it is written, and how large it is.

`python -m benchmarks report`. Wall seconds of `farm report` in one process, the median of five
with its spread (highest minus lowest). The run has 500 rows of 300 mated probes each.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from orchestrator.reporting.analysis.history import load_run
from orchestrator.reporting.html.report import write_report
from tests.reporting.made import Row, make_run

ROWS, GOAL_S, RUNS = 500, 2.0, 5


def main() -> None:
    """Print the figures."""
    rows = [Row("this-host", hardware="PC", board="host", reference=True)]
    rows += [
        Row(f"row-{n}", board=f"board-{n}", lot=n % 20, time_lot=n % 20) for n in range(1, ROWS)
    ]
    with tempfile.TemporaryDirectory(prefix="farm-b") as name:
        folder = make_run(Path(name), "20260101-000000-0000", rows)
        took = []
        for _ in range(RUNS):
            began = time.monotonic()
            write_report(load_run(folder), Path(name) / "report.html")
            took.append(time.monotonic() - began)
        size = (Path(name) / "report.html").stat().st_size
    print(
        f"report_of_{ROWS}_rows: {statistics.median(took):.2f} s, "
        f"spread {max(took) - min(took):.2f} (goal {GOAL_S:g}); {size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
