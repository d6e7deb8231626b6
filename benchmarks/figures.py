"""Figures of 100,000 probes from their searches: intervals by bootstrap, and two rows paired.

`python -m benchmarks figures`. Cost is CPU seconds of one process, the median of five with its
spread (highest minus lowest).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from orchestrator.scoring import Searches
from orchestrator.stages.compare import difference
from orchestrator.stages.score import figures

PROBES, UNKNOWN = 100_000, 20_000
GOAL_S, RUNS = 1.0, 5
POLICY: dict[str, Any] = {
    "far": [1e-1, 1e-2, 1e-3],
    "table_far": 1e-3,
    "confidence": 0.95,
    "bootstrap": 1000,
    "seed": 0,
    "fusion": "mean",
}


def searches(lot: int) -> Searches:
    """So many probes, each of its own identity; what two lots share is most of them."""
    shared, own = np.random.default_rng(0), np.random.default_rng(1 + lot)
    mated = np.arange(PROBES) < PROBES - UNKNOWN

    def drawn(middle: float, width: float) -> np.ndarray:
        mixed = 0.95 * shared.normal(size=PROBES) + 0.3 * own.normal(size=PROBES)
        return (middle + width * mixed).astype(np.float32)

    mate, impostor = drawn(0.55, 0.12), drawn(0.33, 0.04)
    mate[~mated] = np.nan
    return Searches(
        mate=mate,
        impostor=impostor,
        mated=mated,
        failed=np.zeros(PROBES, bool),
        identity=np.arange(PROBES, dtype=np.int64),
        rank=None,
        gallery_size=PROBES - UNKNOWN,
    )


def median(work: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds and their spread."""
    took = []
    for _ in range(RUNS):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return statistics.median(took), max(took) - min(took)


def main() -> None:
    """Print the figures."""
    reference, row = searches(0), searches(1)
    works: dict[str, Callable[[], object]] = {
        "figures_and_bootstrap": lambda: figures(row, POLICY),
        "paired_tests": lambda: difference(reference, row, POLICY),
    }
    for name, work in works.items():
        seconds, spread = median(work)
        print(f"{name}: {seconds:.2f} core-s, spread {spread:.2f} (goal {GOAL_S:g} for both)")


if __name__ == "__main__":
    main()
